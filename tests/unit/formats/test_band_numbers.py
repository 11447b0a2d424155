"""The numbers of the bands in the formats of other programs are not read as wavelengths."""

import h5py
import numpy as np
import pytest
import rasterio
import rioxarray
import scipy.io
import xarray as xr

from hsipipe.formats import open_cube

COUNTS = pytest.mark.parametrize("count", [2, 31, 99, 100])


@pytest.fixture
def values():
    return lambda count: np.random.default_rng(0).random((count, 4, 5), dtype=np.float32)


def _no_wavelengths(path, count):
    cube = open_cube(path, bands=count)
    assert cube.shape == (count, 4, 5)
    assert "wavelength_nm" not in cube.coords


@COUNTS
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_the_band_coordinate_of_rioxarray(tmp_path, values, count, suffix):
    profile = {"count": count, "height": 4, "width": 5, "dtype": "float32", "crs": 32632}
    transform = rasterio.Affine(30, 0, 5e5, 0, -30, 5e6)
    with rasterio.open(tmp_path / "s.tif", "w", driver="GTiff", transform=transform, **profile) as raster:
        raster.write(values(count))
    with rioxarray.open_rasterio(tmp_path / "s.tif") as opened:
        dataset = opened.load().rename("reflectance").to_dataset()
    path = tmp_path / f"s{suffix}"
    dataset.to_netcdf(path, engine="scipy") if suffix == ".nc" else dataset.to_zarr(path, consolidated=False)
    _no_wavelengths(path, count)


@COUNTS
@pytest.mark.parametrize("name", ["wavelength", "wl", "lambda", "band"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_coordinate_of_any_name_in_netcdf(tmp_path, values, count, name, first):
    coords = {name: ("band", np.arange(first, first + count) * 1.0)}
    xr.Dataset({"r": (("band", "y", "x"), values(count))}, coords=coords).to_netcdf(tmp_path / "a.nc", engine="scipy")
    _no_wavelengths(tmp_path / "a.nc", count)


@COUNTS
@pytest.mark.parametrize("name", ["bands", "band", "wavelength", "wavelengths"])
def test_a_vector_of_any_name_in_matlab_hdf5_and_numpy(tmp_path, values, count, name):
    cube, numbers = values(count), np.arange(1, count + 1)
    scipy.io.savemat(tmp_path / "a.mat", {"data": cube.transpose(1, 2, 0), name: numbers})
    np.savez(tmp_path / "a.npz", data=cube, **{name: numbers})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = cube
        file[name] = numbers
    for suffix in (".mat", ".npz", ".h5"):
        _no_wavelengths(tmp_path / f"a{suffix}", count)


@COUNTS
@pytest.mark.parametrize("form", ["{}", "{}.0", "{:.6f}"])
@pytest.mark.parametrize("units", ["nm", "Unknown", None])
def test_the_tags_and_names_of_a_geotiff(tmp_path, values, count, form, units):
    path, profile = tmp_path / "a.tif", {"count": count, "height": 4, "width": 5, "dtype": "float32"}
    transform = rasterio.Affine(30, 0, 5e5, 0, -30, 5e6)
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile) as raster:
        raster.write(values(count))
        for band in range(1, count + 1):
            tags = {"wavelength": form.format(band)} | ({"wavelength_units": units} if units else {})
            raster.update_tags(band, **tags)
            raster.set_band_description(band, form.format(band))
        raster.update_tags(wavelengths=" ".join(form.format(band) for band in range(count)))
    _no_wavelengths(path, count)


@COUNTS
@pytest.mark.parametrize("units", ["Unknown", "Nanometers", "Index", None])
def test_the_header_of_envi(tmp_path, values, count, units):
    values(count).tofile(tmp_path / "a.img")
    numbers = ", ".join(f"{band:.6f}" for band in range(1, count + 1))
    header = (
        f"ENVI\nsamples = 5\nlines = 4\nbands = {count}\ndata type = 4\ninterleave = bsq\nwavelength = {{{numbers}}}\n"
    )
    (tmp_path / "a.hdr").write_text(header + (f"wavelength units = {units}\n" if units else ""))
    _no_wavelengths(tmp_path / "a.hdr", count)
