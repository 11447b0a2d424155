"""The overlap of two detectors."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.overlap import OVERLAPS, resolve_overlap

SETTINGS = {"min_size": 1, "max_size": 12, "unique": True}


def make(vnir, swir, values=None, *, good=None, dtype=np.float32):
    """A cube of two detectors by ascending wavelength; values: function of (nm, detector)."""
    bands = sorted([(nm, "vnir") for nm in vnir] + [(nm, "swir") for nm in swir])
    nm, detector = np.array([b[0] for b in bands], float), np.array([b[1] for b in bands])
    data = np.stack([np.full((2, 3), values(*b) if values else n) for n, b in enumerate(bands)]).astype(dtype)
    coords = {
        "wavelength_nm": ("band", nm),
        "detector": ("band", detector),
        "good_band": ("band", np.ones(len(nm), bool) if good is None else np.array(good)),
        "fwhm_nm": ("band", np.full(len(nm), 10.0)),
    }
    return xr.DataArray(data, dims=("band", "y", "x"), coords=coords, attrs={"bad_bands": []})


wavelengths = st.lists(st.integers(4000, 10_000).map(lambda n: n / 10), **SETTINGS)
longer = st.lists(st.integers(8000, 24_000).map(lambda n: n / 10), **SETTINGS)


@given(vnir=wavelengths, swir=longer, overlap=st.sampled_from([o for o in OVERLAPS if o != "keep"]))
def test_no_wavelength_is_covered_twice(vnir, swir, overlap):
    cube = make(vnir, swir)
    found = resolve_overlap(cube, overlap)
    nm, detector = found["wavelength_nm"].values, found["detector"].values
    assert (np.diff(nm) >= 0).all()
    changes = int((detector[1:] != detector[:-1]).sum())
    assert changes <= 2 if overlap == "average" else changes <= 1
    preferred = {"swir": swir, "vnir": vnir, "average": swir}[overlap]
    assert set(preferred) <= set(nm.tolist())


@given(vnir=wavelengths, swir=longer, slope=st.floats(-0.01, 0.01), offset=st.floats(-1, 1))
def test_the_average_of_detectors_that_agree_on_a_line_is_the_line(vnir, swir, slope, offset):
    cube = make(vnir, swir, lambda nm, _: offset + slope * nm, dtype=np.float64)
    found = resolve_overlap(cube, "average")
    expected = offset + slope * found["wavelength_nm"].values
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["fwhm_nm"], 10)


@given(vnir=wavelengths, swir=longer)
def test_all_bands_are_kept_unless_asked(vnir, swir):
    cube = make(vnir, swir)
    assert resolve_overlap(cube, "keep").identical(cube)


def test_a_bad_band_takes_no_part():
    # The good SWIR band begins at 930; the bad one at 900 lies among good VNIR bands.
    cube = make([890, 910, 950], [900, 930, 960], good=[True, False, True, True, True, True])
    kept = {o: resolve_overlap(cube, o)["wavelength_nm"].values.tolist() for o in OVERLAPS}
    assert kept == {
        "keep": [890, 900, 910, 930, 950, 960],
        "swir": [890, 910, 930, 960],
        "vnir": [890, 910, 950, 960],
        "average": [890, 910, 930, 960],
    }


def test_nan_of_either_detector_is_nan_in_the_average():
    cube = make([900, 940], [920, 960], lambda nm, _: nm)
    cube[1, 0, 0] = np.nan  # 920 nm, SWIR
    cube[2, 0, 1] = np.nan  # 940 nm, VNIR
    found = resolve_overlap(cube, "average")
    assert found["wavelength_nm"].values.tolist() == [900, 920, 960]
    np.testing.assert_array_equal(np.isnan(found[1]), [[True, True, False], [False, False, False]])


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".tif"])
def test_a_saved_cube_has_its_detectors_and_bad_bands(tmp_path, suffix):
    cube = make([890, 910, 950], [900, 930, 960], good=[True] * 5 + [False]).assign_attrs(bad_bands=[6])
    save_cube(cube, tmp_path / f"a{suffix}")
    found = open_cube(tmp_path / f"a{suffix}", overlap="swir")
    assert found["wavelength_nm"].values.tolist() == [890, 900, 930, 960]
    assert found["detector"].values.tolist() == ["vnir", "swir", "swir", "swir"]
    assert found.attrs["bad_bands"] == [4]


def test_a_cube_of_one_detector_is_returned_as_it_is():
    cube = make([890, 910], [])
    for overlap in OVERLAPS:
        assert resolve_overlap(cube, overlap) is cube
