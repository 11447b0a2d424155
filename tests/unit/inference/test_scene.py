import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from hsipipe.diffusion.noise import scene_noise
from hsipipe.errors import ModelInputError
from hsipipe.inference.same_bits import same_bits
from hsipipe.inference.scene import draw_scene, predict_scene, predict_scene_with_spread
from hsipipe.methods.bicubic import Bicubic


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


class Sampler(Nearest):
    """Adds noise of the place, and noise of the tile with the weight `own`."""

    def __init__(self, *, own=0.0):
        self._own = own

    def draw(self, lr, *, count, origin=(0, 0)):
        sr = Nearest.predict(self, lr)
        window = (origin[0] * 3, origin[1] * 3, *sr.shape[2:])
        for number in range(count):
            yield sr + self._noise(window, number).numpy()

    def predict_with_spread(self, lr, *, count, origin=(0, 0)):
        samples = list(self.draw(lr, count=count, origin=origin))
        return np.mean(samples, axis=0), np.std(samples, axis=0, ddof=1)

    def _noise(self, window, number):
        placed = scene_noise(1, window=window, seed=0, draw=number)
        tiles = scene_noise(1, window=window, seed=1 + window[0] * 1000 + window[1], draw=number)
        return placed + self._own * tiles


def _deviation(samples, lr, **how):
    """Of whole scenes, sample by sample: what the blend of deviations stands for."""
    scenes = draw_scene(Sampler(**how), lr, count=samples, tile=16, overlap=3)
    return np.mean(scenes, axis=0), np.std(scenes, axis=0, ddof=1)


def test_the_spread_is_that_of_whole_scenes_where_tiles_agree():
    lr = np.random.default_rng(4).random((1, 40, 30), dtype=np.float32)
    mean, std = predict_scene_with_spread(Sampler(), lr, count=5, tile=16, overlap=3)
    expected_mean, expected_std = _deviation(5, lr)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-5)
    np.testing.assert_allclose(std, expected_std, atol=1e-5)
    assert std.dtype == np.float32


def test_the_spread_is_never_too_small_where_tiles_differ():
    lr = np.zeros((1, 40, 30), np.float32)
    mean, std = predict_scene_with_spread(Sampler(own=0.5), lr, count=5, tile=16, overlap=3)
    expected_mean, expected_std = _deviation(5, lr, own=0.5)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-5)
    assert (std >= expected_std - 1e-5).all()
    # Rows and columns that one tile alone covers.
    np.testing.assert_allclose(std[:, :30, :30], expected_std[:, :30, :30], atol=1e-5)
    assert std.mean() < 1.1 * expected_std.mean()


def test_the_bits_do_not_depend_on_the_number_of_threads():
    class Wide:
        """Products of its bands and components are large enough for BLAS to share them out."""

        name, scale, bands, msi_bands, nfe = "wide", 4, 224, 0, 0
        spectra = np.random.default_rng(0).standard_normal((20, 224)).astype(np.float32)

        def predict(self, lr, *, msi=None, origin=(0, 0)):
            raise NotImplementedError

        def parts(self, lr, *, msi=None, origin=(0, 0)):
            return lr, lr[:, :20].repeat(4, axis=2).repeat(4, axis=3)

    lr = np.random.default_rng(1).random((224, 24, 24), dtype=np.float32)
    scenes = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            scenes.append(predict_scene(Wide(), lr, tile=24, overlap=4))
    assert scenes[0].tobytes() == scenes[1].tobytes()


def test_a_limit_ends_with_the_last_thread_that_wants_it():
    def threads():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        with same_bits():
            with same_bits():
                pass
            assert threads() == {1}
        assert threads() == {2}
