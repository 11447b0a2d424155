import pytest
import torch

from hsipipe.diffusion.noise import scene_noise


@pytest.mark.parametrize("window", [(0, 0, 10, 10), (60, 5, 80, 130), (64, 128, 64, 64), (3, 200, 1, 70)])
def test_windows_agree_where_they_overlap(window):
    y, x, height, width = window
    scene = scene_noise(3, window=(0, 0, 300, 300), seed=1, draw=0)
    part = scene_noise(3, window=window, seed=1, draw=0)
    assert torch.equal(part, scene[:, y : y + height, x : x + width])


def test_it_is_standard_normal_and_differs_by_seed_and_draw():
    images = [scene_noise(2, window=(0, 0, 200, 200), seed=s, draw=d) for s, d in ((0, 0), (0, 1), (1, 0))]
    for image in images:
        assert float(image.mean()) == pytest.approx(0, abs=0.02)
        assert float(image.std()) == pytest.approx(1, abs=0.02)
    flat = torch.stack([image.flatten() for image in images])
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.02


def test_neighbouring_blocks_differ():
    image = scene_noise(1, window=(0, 0, 128, 128), seed=0, draw=0)[0]
    assert not torch.equal(image[:64, :64], image[64:, 64:])
