"""Alpha bands, masks and quality layers of a TIFF are no spectral bands."""

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from hsipipe.formats import open_cube

TRANSFORM = rasterio.Affine(30, 0, 5e5, 0, -30, 5e6)


def write(path, values, *, colours=None, names=None, mask=None, internal=True, **profile):
    bands, height, width = values.shape
    options = {"count": bands, "height": height, "width": width, "dtype": values.dtype.name, "crs": 32632} | profile
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        with rasterio.open(path, "w", driver="GTiff", transform=TRANSFORM, **options) as raster:
            if colours:
                raster.colorinterp = colours
            raster.write(values)
            for band, name in enumerate(names or (), start=1):
                raster.set_band_description(band, name)
            if mask is not None:
                raster.write_mask(mask)
    return path


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 33),
    place=st.integers(0, 33),
    kind=st.sampled_from(["u1", "u2", "i2", "f4"]),
    interleave=st.sampled_from(["band", "pixel"]),
    nodata=st.sampled_from([None, 7]),
)
def test_alpha_says_where_there_is_no_data(tmp_path_factory, count, place, kind, interleave, nodata):
    random = np.random.default_rng(count)
    values = random.integers(8, 100, (count, 12, 11)).astype(kind)
    valid = np.ones((12, 11), bool)
    valid[:3, :4] = False
    values[:, ~valid] = 0
    expected = np.where(valid, values.astype("f4"), np.nan)
    if nodata is not None:
        values[0, 8, 8], expected[0, 8, 8] = nodata, np.nan
    place = min(place, count)
    opaque = np.where(valid, 255 if kind == "u1" else 9999, 0).astype(kind)
    stacked = np.insert(values, place, opaque, axis=0)
    colours = [ColorInterp.undefined] * place + [ColorInterp.alpha] + [ColorInterp.undefined] * (count - place)
    colours = [ColorInterp.gray if n == 0 and c != ColorInterp.alpha else c for n, c in enumerate(colours)]
    path = tmp_path_factory.mktemp("alpha") / "a.tif"
    cube = open_cube(
        write(path, stacked, colours=colours, interleave=interleave, nodata=nodata, photometric="minisblack")
    )
    np.testing.assert_array_equal(cube, expected)
    assert cube.dtype == np.float32
    np.testing.assert_array_equal(cube[:, 2:5, 3:6], expected[:, 2:5, 3:6])


def test_names_and_wavelengths_belong_to_the_spectral_bands(tmp_path):
    values = np.ones((4, 5, 6), "u2")
    values[1] = np.eye(5, 6) * 65535
    names = ["450 nm", "valid mask", "550 nm", "650 nm"]
    cube = open_cube(write(tmp_path / "a.tif", values, names=names))
    np.testing.assert_array_equal(cube["wavelength_nm"], [450, 550, 650])
    np.testing.assert_array_equal(np.isnan(cube.values), np.broadcast_to(np.eye(5, 6) == 0, (3, 5, 6)))


def test_a_scale_applies_to_the_spectral_bands_alone(tmp_path):
    values = np.full((3, 5, 6), 4, "u2")
    path = write(tmp_path / "a.tif", values, names=["a", "b", "alpha"])
    with rasterio.open(path, "r+") as raster:
        raster.scales, raster.offsets = (0.5, 0.25, 0.0), (0.0, 1.0, 0.0)
    assert open_cube(path)[:, 0, 0].values.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("name", ["QA", "qa_pixel", "cloud mask", "SCL", "snow_mask", "Quality", "nodata mask"])
def test_layers_that_are_no_bands_are_skipped_and_told(tmp_path, caplog, name):
    cube = open_cube(write(tmp_path / "a.tif", np.ones((3, 5, 6), "u2"), names=["red", "nir", name]))
    assert cube.shape == (2, 5, 6)
    assert not np.isnan(cube.values).any()
    assert f"band 3, {name!r}, is not a spectral band and is skipped" in caplog.text


def test_the_near_infrared_that_gdal_takes_for_alpha_is_a_band(tmp_path, caplog):
    values = np.random.default_rng(0).integers(0, 255, (4, 20, 30)).astype("u1")
    path = write(tmp_path / "a.tif", values)
    with rasterio.open(path) as raster:
        assert raster.colorinterp[3] == ColorInterp.alpha
    np.testing.assert_array_equal(open_cube(path), values)
    assert "band 4 is marked as alpha" in caplog.text
    named = write(tmp_path / "b.tif", np.ones((4, 20, 30), "u1"), names=["R", "G", "B", "NIR"])
    assert open_cube(named).shape == (4, 20, 30)


def test_a_mask_by_itself_can_be_read(tmp_path):
    path = write(tmp_path / "a.tif", np.ones((1, 5, 6), "u1"), names=["mask"])
    assert open_cube(path).shape == (1, 5, 6)


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_of_the_file_or_next_to_it(tmp_path, internal):
    mask = np.full((5, 6), 255, "u1")
    mask[0, 0] = 0
    path = write(tmp_path / "a.tif", np.ones((3, 5, 6), "u2"), mask=mask, internal=internal)
    assert (tmp_path / "a.tif.msk").exists() != internal
    cube = open_cube(path)
    assert cube.shape == (3, 5, 6)
    np.testing.assert_array_equal(np.isnan(cube.values), np.broadcast_to(mask == 0, cube.shape))


def test_the_alpha_of_every_page(tmp_path):
    pages = np.full((7, 12, 11, 2), 300, "u2")
    pages[..., 1] = 65535
    pages[:, 0, 0, 1] = 0
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, photometric="minisblack", extrasamples=["unassalpha"], metadata=None)
    cube = open_cube(tmp_path / "a.tif")
    assert cube.shape == (7, 12, 11)
    assert np.isnan(cube.values).sum() == 7
    assert np.isnan(cube.values[:, 0, 0]).all()
