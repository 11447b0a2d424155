"""A file in, a file out: what becomes of the position; the rest is in test_command_line.py."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine

import flows.prediction
from flows.prediction import predict_file
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import attach, crs_of, transform_of
from hsipipe.models.baselines.bicubic import Bicubic


@pytest.mark.parametrize("source", [".tif", ".nc", ".zarr"])
@pytest.mark.parametrize("target", [".tif", ".nc", ".zarr"])
def test_the_result_lies_where_the_input_lay(tmp_path, monkeypatch, source, target):
    monkeypatch.setattr(flows.prediction, "load_model", lambda folder: Bicubic(2))
    values = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)
    cube = xr.DataArray(values, dims=("band", "y", "x"), attrs={"gsd_m": 30.0})
    cube = cube.assign_coords(wavelength_nm=("band", [400.0, 500.0, 600.0, 700.0]))
    cube = attach(cube, crs=32632, transform=Affine(30, 0, 500000, 0, -30, 4649000))
    save_cube(cube, tmp_path / f"lr{source}")
    predict_file(tmp_path / f"lr{source}", tmp_path / f"hr{target}", model="x", tile=8, overlap=2, full_scale=1.0)
    hr = open_cube(tmp_path / f"hr{target}")
    assert hr.shape == (4, 12, 10)
    assert crs_of(hr).to_epsg() == 32632
    assert transform_of(hr).almost_equals(Affine(15, 0, 500000, 0, -15, 4649000))
    assert hr["spatial_ref"].attrs["GeoTransform"] == "500000.0 15.0 0.0 4649000.0 0.0 -15.0"
    np.testing.assert_allclose(hr["y"], 4649000 - 15 * (np.arange(12) + 0.5))
    np.testing.assert_array_equal(hr["wavelength_nm"], cube["wavelength_nm"])
    assert hr.attrs["gsd_m"] == 15.0
