import numpy as np
import pytest

from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import DataError, ModelInputError
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.pca_ceiling import PcaCeiling
from hsipipe.methods.super_resolver import SuperResolver, check_input


def cube(rank=3, bands=8, size=16, seed=0):
    rng = np.random.default_rng(seed)
    spectra = rng.uniform(0, 1, (bands, rank))
    return (np.tensordot(spectra, rng.dirichlet(np.ones(rank), (size, size)), (1, 2))).astype(np.float32)


def test_bicubic_is_a_super_resolver_that_interpolates():
    lr = cube()[None]
    model = Bicubic(4)
    assert isinstance(model, SuperResolver)
    sr = model.predict(lr)
    assert (sr.shape, sr.dtype) == ((1, 8, 64, 64), np.float32)
    assert np.array_equal(sr, upsample(lr, 4))


@pytest.mark.parametrize(
    ("lr", "message"),
    [
        ([[1.0]], "Got a list, expected a numpy array"),
        (cube(), r"Got shape \(8, 16, 16\), expected four dimensions .* lr\[None\]"),
        (cube()[0], "arrange it as batch, band, row, column"),
        (cube()[None, :, :0], "at least one"),
        (cube(bands=7)[None], "Got 7 bands in shape .*, expected 8; select the bands"),
        (cube()[None].astype(np.float64), "Got float64 values, expected float32"),
        (np.where(np.arange(8)[None, :, None, None] == 5, np.nan, cube()), "Got 256 NaN or Inf .* band 6,"),
    ],
)
def test_unfit_input_is_refused(lr, message):
    with pytest.raises(ModelInputError, match=message):
        check_input(lr, bands=8)


def test_any_band_count_where_none_is_fixed():
    check_input(cube(bands=3)[None], bands=None)


def test_pca_of_the_training_scenes_holds_what_has_their_rank():
    train, test = cube(rank=3), cube(rank=3, seed=0)[:, ::-1]
    ceiling = PcaCeiling.fit([train], 3)
    assert not isinstance(ceiling, SuperResolver)
    back = ceiling.reconstruct(test)
    assert back.dtype == np.float32
    assert np.allclose(back, test, atol=1e-6)
    assert not np.allclose(PcaCeiling.fit([train], 1).reconstruct(test), test, atol=1e-3)


def test_pca_equals_the_svd_of_all_training_pixels():
    scenes = [cube(rank=6, seed=seed, size=size) for seed, size in ((0, 70), (1, 16))]
    ceiling = PcaCeiling.fit(scenes, 2)
    pixels = np.concatenate([scene.reshape(8, -1) for scene in scenes], axis=1).astype(np.float64)
    mean = pixels.mean(axis=1)
    _, _, vectors = np.linalg.svd((pixels - mean[:, None]).T, full_matrices=False)
    assert np.allclose(ceiling.mean, mean)
    assert np.allclose(ceiling.components.T @ ceiling.components, vectors[:2].T @ vectors[:2])


def test_more_components_than_bands_lose_nothing():
    ceiling = PcaCeiling.fit([cube(rank=8)], 30)
    assert ceiling.k == 8
    assert np.allclose(ceiling.reconstruct(cube(seed=5)), cube(seed=5), atol=1e-6)


def test_pca_refuses_what_it_cannot_fit():
    with pytest.raises(DataError, match="no training scene"):
        PcaCeiling.fit([], 2)
    with pytest.raises(DataError, match="k = 0"):
        PcaCeiling.fit([cube()], 0)
    with pytest.raises(DataError, match="scenes of 8 and 7 bands"):
        PcaCeiling.fit([cube(), cube(bands=7)], 2)
    with pytest.raises(DataError, match="got 7 bands, was fitted on 8"):
        PcaCeiling.fit([cube()], 2).reconstruct(cube(bands=7))
