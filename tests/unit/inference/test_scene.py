import numpy as np
import pytest

from hsipipe.errors import ModelInputError
from hsipipe.inference.scene import predict_scene
from hsipipe.models.baselines.bicubic import Bicubic


class Nearest:
    """Repeats pixels: local, so tiles must not change it."""

    name, scale, bands, nfe = "nearest", 3, None, 0

    def predict(self, lr, *, origin=(0, 0)):
        return lr.repeat(3, axis=2).repeat(3, axis=3)


@pytest.mark.parametrize("shape", [(2, 7, 5), (2, 16, 16), (1, 33, 50), (1, 17, 90)])
def test_tiles_of_a_local_model_join_exactly(shape):
    lr = np.random.default_rng(0).random(shape, dtype=np.float32)
    whole = Nearest().predict(lr[None])[0]
    tiled = predict_scene(Nearest(), lr, tile=16, overlap=3)
    np.testing.assert_allclose(tiled, whole, atol=1e-6)
    assert tiled.dtype == np.float32


def test_no_seam_where_the_overlap_covers_the_models_reach():
    lr = np.random.default_rng(1).random((2, 40, 40), dtype=np.float32)
    model = Bicubic(4)
    tiled = predict_scene(model, lr, tile=16, overlap=4)
    whole = model.predict(lr[None])[0]
    # Only the outermost LR pixels of a tile, which weigh least, see its border.
    assert np.abs(tiled - whole).max() < 0.02
    assert np.abs(tiled - whole).mean() < 2e-3


def test_without_overlap_tiles_stand_side_by_side():
    lr = np.random.default_rng(2).random((1, 20, 20), dtype=np.float32)
    np.testing.assert_allclose(
        predict_scene(Nearest(), lr, tile=8, overlap=0), Nearest().predict(lr[None])[0], atol=1e-6
    )


def test_a_scene_has_three_axes():
    with pytest.raises(ModelInputError, match=r"\(band, y, x\), got 2"):
        predict_scene(Nearest(), np.zeros((4, 4), np.float32), tile=8, overlap=1)


def test_each_tile_is_told_where_it_lies():
    class Place(Nearest):
        def predict(self, lr, *, origin=(0, 0)):
            rows = origin[0] + np.arange(lr.shape[2], dtype=np.float32)
            return super().predict(np.broadcast_to(rows[:, None], lr.shape))

    lr = np.zeros((1, 40, 20), np.float32)
    expected = np.broadcast_to(np.arange(40, dtype=np.float32).repeat(3)[:, None], (120, 60))
    np.testing.assert_allclose(predict_scene(Place(), lr, tile=16, overlap=3)[0], expected, atol=1e-4)
