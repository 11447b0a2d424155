"""Results as integers of the input, and the colours that other programs show first."""

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from affine import Affine
from rasterio.enums import ColorInterp
from small_network import Killed, kill_after
from spectral.io import envi

import hsipipe.inference.plan
from hsipipe.commands.predict_file import predict_file
from hsipipe.commands.sample_file import Samples
from hsipipe.errors import FileFormatError, ParamsError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.colour_bands import colour_bands
from hsipipe.formats.georeference import attach
from hsipipe.formats.packing import Packing, packing_for
from hsipipe.inference.made_of import progress_of
from hsipipe.storage.publish import publish

PLACE = Affine(30, 0, 500000, 0, -30, 4649000)
NM = [460.0, 500.0, 550.0, 600.0, 640.0, 700.0, 800.0, 900.0]
TILES = {"tile": 8, "overlap": 2, "full_scale": 1.0, "dtype": "like-input"}
SCALE, OFFSET = 2.0**-12, -0.125


@pytest.fixture
def model(small_model, tmp_path):
    with publish(tmp_path / "model") as folder:
        small_model().save(folder)
    return str(tmp_path / "model")


@pytest.fixture
def lr(tmp_path):
    """An int16 GeoTIFF with a scale, an offset and a pixel without data."""
    stored = np.random.default_rng(0).integers(600, 4000, (8, 40, 30)).astype(np.int16)
    stored[:, 3, 4] = -9999
    profile = {"count": 8, "height": 40, "width": 30, "dtype": "int16", "crs": "EPSG:32632", "transform": PLACE}
    with rasterio.open(tmp_path / "lr.tif", "w", "GTiff", nodata=-9999, **profile) as raster:
        raster.write(stored)
        raster.scales, raster.offsets = [SCALE] * 8, [OFFSET] * 8
        for band, nm in enumerate(NM, start=1):
            raster.update_tags(band, wavelength=nm, wavelength_units="nm")
    return tmp_path / "lr.tif"


def read_tiff(path):
    with rasterio.open(path) as raster:
        assert raster.dtypes[0] == "int16"
        stored = raster.read(masked=True)
        values = stored.astype("f8") * raster.scales[0] + raster.offsets[0]
    return values.filled(np.nan)


def read_netcdf(path):
    """As xarray decodes what h5py reads."""
    with h5py.File(path) as file:
        stored = file["reflectance"]
        assert stored.dtype == np.int16
        attrs = {key: stored.attrs[key] for key in ("scale_factor", "add_offset", "_FillValue")}
        attrs = {key: value[0] for key, value in attrs.items()}
        data = xr.decode_cf(xr.Dataset({"reflectance": (("band", "y", "x"), stored[...], attrs)}))
    return data["reflectance"].to_numpy()


def read_zarr(path):
    assert zarr.open_group(path, mode="r")["reflectance"].dtype == np.int16
    with xr.open_zarr(path) as data:
        return data["reflectance"].to_numpy()


READERS = {".tif": read_tiff, ".nc": read_netcdf, ".zarr": read_zarr}


@pytest.mark.parametrize("guard", ["warn", "fallback"])
@pytest.mark.parametrize("suffix", READERS)
def test_other_readers_get_the_reflectance_back_from_integers(tmp_path, lr, model, capsys, suffix, guard):
    """In windows, and as a whole scene, which `guard` fallback wants."""
    target = tmp_path / f"hr{suffix}"
    predict_file(lr, tmp_path / "exact.nc", model=model, guard=guard, **{**TILES, "dtype": "float32"})
    exact = open_cube(tmp_path / "exact.nc").to_numpy()
    capsys.readouterr()
    predict_file(lr, target, model=model, guard=guard, **TILES)
    told = capsys.readouterr().err
    assert "note: values are rounded to int16 in steps of 0.000244141 from -0.125; no value was clipped." in told
    for found in (READERS[suffix](target), open_cube(target).to_numpy()):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
        assert np.isnan(exact).any()
        np.testing.assert_allclose(found, exact, rtol=0, atol=SCALE / 2 + 1e-6)


def test_values_are_surveyed_and_those_clipped_counted_also_after_a_kill(tmp_path, lr, model, monkeypatch, capsys):
    monkeypatch.setattr(hsipipe.inference.plan, "_SHARD_BYTES", 4 * 8 * 32**2)
    live = kill_after(monkeypatch, 30, brighter=9)
    with pytest.raises(Killed):
        predict_file(lr, tmp_path / "hr.tif", model=model, **TILES)
    assert progress_of(tmp_path / "hr.tif").done > 0
    live()
    told = []
    predict_file(lr, tmp_path / "hr.tif", model=model, found=told.append, **TILES)
    written = open_cube(tmp_path / "hr.tif").to_numpy()
    count = np.isfinite(written).sum()
    (found,) = told
    assert (found.low, found.high, found.finite) == (np.nanmin(written), np.nanmax(written), count)
    assert f"; {count} values lay outside of its range and were clipped." in capsys.readouterr().err


def test_the_standard_deviation_stays_float32(tmp_path, lr, model):
    predict_file(lr, tmp_path / "hr.tif", model=model, samples=Samples(2, (0.05,)), **TILES)
    for name, kind in (("hr", "int16"), ("hr_std", "float32"), ("hr_q05", "int16")):
        with rasterio.open(tmp_path / f"{name}.tif") as raster:
            assert raster.dtypes[0] == kind


def test_unscaled_integers_are_written_as_envi(tmp_path, model):
    values = np.random.default_rng(0).integers(0, 9000, (8, 12, 10)).astype(np.uint16)
    cube = xr.DataArray(values, dims=("band", "y", "x")).assign_coords(wavelength_nm=("band", NM))
    save_cube(attach(cube, transform=PLACE), tmp_path / "lr.bsq")
    predict_file(tmp_path / "lr.bsq", tmp_path / "hr.bil", model=model, **{**TILES, "full_scale": 10000.0})
    image = envi.open(tmp_path / "hr.bil.hdr", tmp_path / "hr.bil")
    assert np.dtype(image.dtype) == np.uint16
    assert image.metadata["default bands"] == ["5", "3", "1"]
    assert image.metadata["data ignore value"] == "65535"


@pytest.mark.parametrize(
    ("name", "choice", "error", "says"),
    [
        ("hr.npy", "like-input", FileFormatError, "hr.npy cannot hold scale and missing values; name it .tif"),
        ("hr.bil", "like-input", FileFormatError, "hr.bil cannot hold scale"),
        ("hr.tif", "int16", ParamsError, "--dtype must be float32 or like-input, got int16"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_before_the_work(tmp_path, lr, model, name, choice, error, says):
    with pytest.raises(error, match=says):
        predict_file(lr, tmp_path / name, model=model, **{**TILES, "dtype": choice})
    assert not (tmp_path / name).exists()


def test_several_scales_are_refused_and_floats_are_float32(tmp_path, lr):
    with rasterio.open(lr, "r+") as raster:
        raster.scales = [SCALE] * 7 + [1.0]
    with pytest.raises(FileFormatError, match="more than one scale"):
        packing_for(open_cube(lr), tmp_path / "hr.tif", "like-input")
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4), np.float64))
    assert packing_for(open_cube(tmp_path / "a.npy"), tmp_path / "hr.npy", "like-input") is None


@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint8", "int32", "uint32"])
def test_the_ends_of_the_range_are_not_the_value_without_data(dtype):
    packing = Packing(dtype, 0.5, 1.0)
    stored, clipped = packing.pack(np.array([np.nan, -1e12, 1e12, 1.5, np.inf], np.float32))
    assert clipped == 2
    assert stored[0] == stored[4] == packing.fill
    assert packing.fill not in stored[1:4]
    assert packing.unpack(stored)[3] == 1.5
    assert np.isnan(packing.unpack(stored)[[0, 4]]).all()


def test_a_tiff_marks_the_bands_that_are_shown_first(tmp_path, lr, model):
    predict_file(lr, tmp_path / "hr.tif", model=model, **TILES)
    with rasterio.open(tmp_path / "hr.tif") as raster:
        marked = {raster.colorinterp[band]: band for band in range(8)}
        assert [marked[ColorInterp[name]] for name in ("red", "green", "blue")] == [4, 2, 0]
        assert raster.descriptions[4] == "640 nm"
    assert len(open_cube(tmp_path / "hr.tif")) == 8


def test_no_colours_where_a_band_is_far_or_bad():
    cube = xr.DataArray(np.zeros((3, 1, 1)), dims=("band", "y", "x"))
    assert colour_bands(cube) is None
    assert colour_bands(cube.assign_coords(wavelength_nm=("band", [460.0, 550.0, 900.0]))) is None
    near = cube.assign_coords(wavelength_nm=("band", [460.0, 550.0, 650.0]))
    assert colour_bands(near) == (2, 1, 0)
    assert colour_bands(near.assign_coords(good_band=("band", [True, False, True]))) is None
