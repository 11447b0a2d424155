"""ENVI is written with the interleave of its suffix, and its header describes all that the cube says."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.envi_header import read_header
from hsipipe.formats.georeference import attach, transform_of

ORDER = {"bil": (1, 0, 2), "bip": (1, 2, 0), "bsq": (0, 1, 2)}
TURNED = Affine.translation(500000, 4649000) @ Affine.rotation(20) @ Affine.scale(4, -4)


@pytest.fixture
def cube():
    values = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    coords = {
        "wavelength_nm": ("band", [450.5, 550.0, 1 / 3 + 600]),
        "fwhm_nm": ("band", [10.0, 11.0, 12.0]),
        "band_name": ("band", ["blue, {1}", "green", ""]),
    }
    attrs = {"gsd_m": 4.0, "note": "a {b}\n; c = 'd' }", "bad_bands": [2]}
    made = xr.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs=attrs)
    return attach(made, crs="EPSG:32632", transform=Affine(4, 0, 500000, 0, -4, 4649000))


@pytest.mark.parametrize("interleave", ORDER)
def test_the_numbers_lie_as_the_suffix_says(tmp_path, cube, interleave):
    save_cube(cube.chunk({"y": 3}), tmp_path / f"a.{interleave}")
    stored = cube.values.transpose(ORDER[interleave])
    assert (tmp_path / f"a.{interleave}").read_bytes() == stored.astype("<f4").tobytes()
    with rasterio.open(tmp_path / f"a.{interleave}") as raster:
        np.testing.assert_array_equal(raster.read(), cube)
        assert raster.crs.to_epsg() == 32632


def test_the_header_says_what_the_cube_says(tmp_path, cube):
    save_cube(cube, tmp_path / "a.bil")
    found = open_cube(tmp_path / "a.bil")
    for name in ("wavelength_nm", "fwhm_nm", "good_band", "y", "x"):
        if name in cube.coords:
            np.testing.assert_array_equal(found[name], cube[name])
    assert found["good_band"].values.tolist() == [True, False, True]
    assert found.attrs["note"] == cube.attrs["note"]
    header = read_header(tmp_path / "a.bil.hdr")
    assert header["band names"] == "{blue 1, green, Band 3}"
    assert (header["bbl"], header["data ignore value"]) == ("{1, 0, 1}", "nan")


def test_a_turned_image_keeps_its_transform(tmp_path, cube):
    turned = attach(cube.drop_vars(["y", "x", "spatial_ref"]), crs="EPSG:32632", transform=TURNED)
    save_cube(turned, tmp_path / "a.bsq")
    assert transform_of(open_cube(tmp_path / "a.bsq")).almost_equals(TURNED, precision=1e-6)


@pytest.mark.parametrize(
    "grid",
    [
        Affine.shear(10, 0) @ Affine.scale(4, -4),
        Affine.rotation(20) @ Affine.scale(4, -6),
        Affine.rotation(20) @ Affine.scale(4, 4),
        Affine.scale(-4, -4),
    ],
    ids=["sheared", "turned, not square", "turned, mirrored", "mirrored"],
)
def test_a_grid_that_a_header_cannot_hold_is_a_warning_in_a_line(tmp_path, cube, caplog, grid):
    other = attach(
        cube.drop_vars(["y", "x", "spatial_ref"]),
        crs="EPSG:32632",
        transform=Affine.translation(500000, 4649000) @ grid,
    )
    save_cube(other, tmp_path / "a.bsq")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["the position is not written"]
    found = open_cube(tmp_path / "a.bsq")
    assert transform_of(found) is None
    np.testing.assert_array_equal(found, cube)


@pytest.mark.parametrize("grid", [Affine.scale(4, -6), Affine.scale(4, 4), Affine(0, 4, 0, 4, 0, 0)])
def test_a_grid_along_the_axes_is_kept(tmp_path, cube, grid):
    moved = Affine.translation(500000, 4649000) @ grid
    save_cube(attach(cube.drop_vars(["y", "x", "spatial_ref"]), transform=moved), tmp_path / "a.bsq")
    assert transform_of(open_cube(tmp_path / "a.bsq")).almost_equals(moved, precision=1e-6)


def test_the_header_of_another_file_stays(tmp_path, cube):
    (tmp_path / "a.hdr").write_text("mine")
    save_cube(cube, tmp_path / "a.bil")
    assert (tmp_path / "a.hdr").read_text() == "mine"


def test_damaged_attributes_cost_themselves_alone(tmp_path, cube, caplog):
    save_cube(cube, tmp_path / "a.bil")
    header = tmp_path / "a.bil.hdr"
    lines = [line for line in header.read_text().splitlines() if not line.startswith("hsipipe attributes")]
    header.write_text("\n".join([*lines, 'hsipipe attributes = "[1"', ""]))
    found = open_cube(tmp_path / "a.bil")
    assert "note" not in found.attrs
    assert "'hsipipe attributes' is ignored" in caplog.text
    np.testing.assert_array_equal(found, cube)


def test_data_without_its_header_are_no_cube(tmp_path, cube):
    save_cube(cube, tmp_path / "a.bil")
    (tmp_path / "a.bil.hdr").unlink()
    with pytest.raises(FileFormatError):
        open_cube(tmp_path / "a.bil")
