"""Labelled cubes are compared by their coordinates, and values of another range are refused."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

import hsipipe
from hsipipe.errors import DataError
from hsipipe.evaluation.alignment import aligned
from hsipipe.evaluation.scoring import score
from hsipipe.formats.georeference import attach

NM = np.linspace(450.0, 850.0, 5)
TRANSFORM = Affine(30, 0, 500000, 0, -30, 4649000)


def labelled(values, **coords):
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    hr = rng.uniform(0.05, 0.95, (5, 32, 24))
    places = {"y": 100.0 - 2 * np.arange(32), "x": 10 + 2.0 * np.arange(24), "wavelength_nm": ("band", NM)}
    return labelled(hr + rng.normal(0, 0.01, hr.shape), **places), labelled(hr, **places)


ORDERS = st.fixed_dictionaries({dim: st.permutations(range(n)) for dim, n in (("band", 5), ("y", 32), ("x", 24))})


@settings(max_examples=20, deadline=None)
@given(order=ORDERS)
def test_any_order_of_rows_columns_and_bands_gives_the_same_cube(order):
    rng = np.random.default_rng(0)
    places = {"y": 100.0 - 2 * np.arange(32), "x": 10 + 2.0 * np.arange(24), "wavelength_nm": ("band", NM)}
    hr = labelled(rng.random((5, 32, 24)), **places)
    xr.testing.assert_identical(aligned(hr.isel(order).transpose("x", "band", "y"), hr, "sr").transpose(*hr.dims), hr)


@pytest.mark.parametrize("dim", ["y", "x", "band"])
def test_a_flipped_prediction_has_the_same_scores(pair, dim):
    sr, hr = pair
    assert score(sr.isel({dim: slice(None, None, -1)}), hr) == score(sr, hr)
    assert score(sr, hr.isel({dim: slice(None, None, -1)})) == pytest.approx(score(sr, hr))


def test_a_flipped_lr_and_msi_have_the_same_scores(pair):
    sr, hr = pair
    lr, response = hsipipe.degrade(hr, 4), np.eye(2, 5)
    msi = hr.isel(band=[0, 1])
    expected = score(sr, hr, lr=lr, msi=msi, response=response)
    flipped = score(sr, hr, lr=lr[:, ::-1], msi=msi[..., ::-1], response=response)
    assert flipped == expected


@pytest.mark.parametrize("coordinate", ["y", "x", "wavelength_nm"])
def test_another_place_or_band_is_refused(pair, coordinate):
    sr, hr = pair
    step = float(hr[coordinate][1] - hr[coordinate][0])
    moved = sr.assign_coords({coordinate: sr[coordinate] + step})
    with pytest.raises(DataError, match=rf"sr and hr differ in {coordinate}: .* against .*; bring both"):
        score(moved, hr)
    with pytest.raises(DataError, match=f"lr and hr differ in {coordinate}"):
        score(sr, hr, lr=hsipipe.degrade(moved, 4))
    assert score(moved.drop_vars(coordinate), hr) == score(sr, hr)


def test_rounded_coordinates_are_the_same_place(pair):
    sr, hr = pair
    sr = sr.assign_coords(y=(sr["y"] + 500_000).astype(np.float32) - np.float32(0.02))
    assert score(sr, hr.assign_coords(y=hr["y"] + 500_000)) == score(sr.drop_vars("y"), hr)


def test_numbers_of_bands_are_compared_without_wavelengths(pair):
    sr, hr = (cube.drop_vars("wavelength_nm").assign_coords(band=np.arange(5)) for cube in pair)
    assert score(sr.isel(band=slice(None, None, -1)), hr) == score(sr, hr)
    with pytest.raises(DataError, match="sr and hr differ in band: 1 to 5 against 0 to 4"):
        score(sr.assign_coords(band=np.arange(1, 6)), hr)


def test_arrays_and_cubes_without_coordinates_are_compared_by_position(pair):
    sr, hr = pair
    assert score(sr.values, hr) == score(sr, hr.values) == score(sr.drop_vars(["y", "x"]), hr)


def test_another_crs_or_rotation_is_refused(pair):
    sr, hr = (cube.drop_vars(["y", "x"]) for cube in pair)
    turned = TRANSFORM @ Affine.rotation(20)
    one, other = (attach(cube, crs=32632, transform=turned) for cube in (sr, hr))
    assert score(one, other) == score(sr, hr)
    with pytest.raises(DataError, match="sr has the CRS EPSG:32633, hr has EPSG:32632; reproject"):
        score(attach(sr, crs=32633, transform=turned), other)
    with pytest.raises(DataError, match="sr and hr lie at different places: transforms"):
        score(attach(sr, crs=32632, transform=turned @ Affine.translation(1, 0)), other)
    assert score(one, other, lr=hsipipe.degrade(other, 4)) == score(sr, hr, lr=hsipipe.degrade(hr, 4))
    with pytest.raises(DataError, match="lr and hr lie at different places"):
        score(one, other, lr=attach(hsipipe.degrade(hr, 4), crs=32632, transform=turned))


def test_a_flipped_swath_is_refused(pair):
    sr, hr = (cube.drop_vars(["y", "x"]) for cube in pair)
    rows, columns = np.mgrid[:32, :24]
    hr = hr.assign_coords(lat=(("y", "x"), 50 - 0.01 * rows + 0.001 * columns))
    same = sr.assign_coords(lat=hr["lat"])
    assert score(same, hr, lr=hsipipe.degrade(hr, 4)) == score(sr, hr, lr=hsipipe.degrade(hr, 4).drop_vars("lat"))
    with pytest.raises(DataError, match="sr and hr differ in lat, so they lie at different places"):
        score(same[:, ::-1], hr)


@pytest.mark.parametrize(
    ("scale", "named"), [(100, "100"), (255, "255"), (4095, "4095"), (10_000, "10000"), (65_535, "65535")]
)
def test_values_of_another_range_are_refused_with_the_scale_to_give(pair, scale, named):
    sr, hr = pair
    with pytest.raises(
        DataError, match=rf"hr has values up to .*, expected 1\.0 as the full range, .*for example {named}\."
    ):
        score(sr * scale, hr * scale)
    with pytest.raises(DataError, match=r"sr has values up to .* divide sr by its scale"):
        score(sr * scale, hr)
    with pytest.raises(DataError, match=r"lr has values up to .* divide lr by its scale"):
        score(sr, hr, lr=hsipipe.degrade(hr * scale, 4))


def test_values_far_below_the_range_are_refused(pair):
    sr, hr = pair
    with pytest.raises(DataError, match=r"hr has values up to .*e-0., expected 1\.0"):
        score(sr * 1e-6, hr * 1e-6)


def test_a_few_glints_are_no_other_range(pair):
    sr, hr = pair
    hr[:, 3, 4] = 30.0
    assert np.isfinite(score(sr, hr)["mpsnr_db"])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_mean_that_is_zero_but_for_rounding_is_refused_by_ergas(pair, kind):
    hr = pair[1].values.astype(kind)
    centred = hr - hr.mean(axis=(1, 2), keepdims=True, dtype=kind)
    assert np.abs(centred.mean(axis=(1, 2))).max() > 0
    with pytest.raises(DataError, match="hr has zero mean in band 1, but ERGAS divides by the mean"):
        score(centred + kind(0.01), centred)
