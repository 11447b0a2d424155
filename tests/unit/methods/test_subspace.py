import numpy as np
import pytest
import torch

from hsipipe.methods.fusion.subspace import estimate_subspace


def scene(bands=12, rank=4, size=10, seed=0):
    rng = np.random.default_rng(seed)
    place = np.linspace(0, np.pi, bands)
    spectra = np.stack([1.5 + np.cos(k * place + k) for k in range(rank)])
    abundance = rng.random((rank, size, size))
    return torch.from_numpy(np.einsum("kc,khw->chw", spectra, abundance).astype(np.float32))[None]


def test_coordinates_are_of_unit_deviation_and_hold_a_scene_of_low_rank():
    lr = scene()
    subspace = estimate_subspace(lr, 5)
    z = subspace.whiten(lr)
    torch.testing.assert_close(z[:, :4].std(dim=(0, 2, 3), correction=0), torch.ones(4), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(subspace.cube(z) + subspace.mean[:, :, None, None], lr, rtol=0, atol=1e-4)
    torch.testing.assert_close(subspace.basis @ subspace.basis.transpose(1, 2), torch.eye(5)[None], atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_scenes_share_a_frame_up_to_what_they_span(seed):
    """Of other mixtures of the same materials, the frame is the same, whatever their variances."""
    one, other = (estimate_subspace(scene(seed=s), 4).basis for s in (10, seed))
    torch.testing.assert_close(one, other, atol=2e-2, rtol=0)
    assert (one[0, 0] > 0).all()  # brightness first, and never upside down


def test_fewer_bands_than_components_and_a_flat_scene_divide_by_nothing():
    assert estimate_subspace(scene(bands=3, rank=2), 8).basis.shape == (1, 3, 3)
    flat = torch.full((1, 6, 5, 5), 0.3)
    z = estimate_subspace(flat, 3).whiten(flat)
    assert torch.isfinite(z).all()
    assert float(z.abs().max()) < 1


def test_few_pixels_do_not_blow_up_what_they_do_not_show():
    whole = scene(size=16)
    corner = estimate_subspace(whole[:, :, :2, :2], 6)
    assert float(corner.whiten(whole).abs().max()) < 500
