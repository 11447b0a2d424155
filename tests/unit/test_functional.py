"""A function of a cube on samples: its distribution, beside its value on the prediction."""

import numpy as np
import pytest
import xarray as xr
from samplers import Spreads

from hsipipe import functional
from hsipipe.errors import DataError, ParamsError
from hsipipe.methods.bicubic import Bicubic


class Noisy(Spreads, Bicubic):
    """Interpolation; its samples have white noise of 0.1 on it."""

    def draw(self, lr, *, count, msi=None, origin=(0, 0)):
        for number in range(count):
            sr = self.predict(lr)
            yield sr + 0.1 * np.random.default_rng(number).normal(size=sr.shape).astype(np.float32)


@pytest.fixture
def cube():
    return xr.DataArray(
        np.full((3, 12, 12), 5.0, np.float32),
        dims=("band", "y", "x"),
        coords={"wavelength_nm": ("band", [450.0, 670.0, 800.0])},
    )


def ratio(cube):
    return functional.band_at(cube, 790) / functional.band_at(cube, 680)


def test_a_map_keeps_its_shape_and_has_a_spread(cube):
    found = functional.evaluate(ratio, Noisy(2), cube, full_scale=10.0, samples=40)
    assert found.values.shape == (40, 24, 24)
    np.testing.assert_allclose(found.plug_in, 1, atol=1e-5)
    assert found.std.mean() == pytest.approx(np.sqrt(2) * 0.1 / 0.5, rel=0.15)
    inside = (found.quantile(0.05) <= found.plug_in) & (found.plug_in <= found.quantile(0.95))
    assert inside.mean() > 0.99


def test_a_maximum_is_above_that_of_the_smooth_prediction(cube):
    found = functional.evaluate(lambda image: float(image.max()), Noisy(2), cube, full_scale=10.0, samples=19)
    assert found.values.shape == (19,)
    assert found.quantile(0.05) > found.plug_in + 2
    with pytest.raises(ParamsError, match=r"19 samples have no quantile 0\.01; draw 99 or more"):
        found.quantile(0.01)


def test_kept_samples_give_the_same(cube):
    samples = xr.concat([cube, cube + 1, cube + 5], dim="sample")
    found = functional.of_samples(lambda image: image.mean(), cube, samples)
    np.testing.assert_allclose(found.values, [5, 6, 10])
    assert (float(found.mean), float(found.plug_in)) == (7, 5)


def test_a_band_is_found_by_its_wavelength(cube):
    assert functional.band_at(cube, 460)["wavelength_nm"] == 450
    with pytest.raises(DataError, match="has no wavelengths"):
        functional.band_at(cube.drop_vars("wavelength_nm"), 460)


def test_what_has_no_distribution_is_refused(cube):
    with pytest.raises(ParamsError, match="bicubic draws no samples; take a posterior"):
        functional.evaluate(ratio, Bicubic(2), cube)
    with pytest.raises(ParamsError, match="Got 1 sample, expected at least 2"):
        functional.evaluate(ratio, Noisy(2), cube, samples=1)
    with pytest.raises(DataError, match="expected one shape for all samples"):
        functional.of_samples(lambda image: np.flatnonzero(image), cube, [cube, cube * 0])
