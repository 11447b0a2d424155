"""Packed values: what xarray decodes, ours decodes; what CF calls invalid is NaN."""

import warnings

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.cf import decode

SHAPE = (3, 8, 9)
STORES = ["classic", "zarr2", "zarr3", "zarr2/group", "zarr3/group"]
every_store = pytest.mark.parametrize("store", STORES)


def write(folder, store, dataset):
    """Write a data set as other programs do, and return its path and what xarray reads from it."""
    kind, _, group = store.partition("/")
    if kind == "classic":
        dataset.to_netcdf(folder / "a.nc", engine="scipy")
        with xr.open_dataset(folder / "a.nc", engine="scipy") as found:
            return folder / "a.nc", found["r"].load()
    path = folder / "a.zarr"
    dataset.to_zarr(path, zarr_format=int(kind[-1]), consolidated=False, group=group or None, mode="w")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)  # several missing values
        found = xr.open_zarr(path, group=group or None, consolidated=False, chunks=None)
        return path, found["r"].load()


@st.composite
def packed(draw):
    """A stored array and the attributes of its packing."""
    kind = draw(st.sampled_from(["i1", "u1", "i2", "u2", "i4", "f4", "f8"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = rng.integers(1, 100, size=SHAPE).astype(kind)
    attrs = {}
    if draw(st.booleans()):
        attrs["scale_factor"] = draw(st.sampled_from([1e-4, 0.5, 2.0, np.float32(0.01)]))
    if draw(st.booleans()):
        attrs["add_offset"] = draw(st.sampled_from([0.25, -3.0, np.float32(10.0)]))
    for name in draw(st.sets(st.sampled_from(["_FillValue", "missing_value"]))):
        attrs[name] = np.dtype(kind).type(draw(st.integers(1, 99)))
    return values, attrs


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=packed(), store=st.sampled_from(STORES))
@pytest.mark.filterwarnings("ignore::xarray.SerializationWarning")
def test_what_xarray_decodes_ours_decodes(tmp_path_factory, case, store):
    values, attrs = case
    path, expected = write(tmp_path_factory.mktemp("a"), store, xr.Dataset({"r": (("band", "y", "x"), values, attrs)}))
    found = open_cube(path)
    np.testing.assert_allclose(found, expected.astype(np.float32), rtol=2e-7)
    assert not {"scale_factor", "add_offset", "_FillValue", "missing_value"} & set(found.attrs)


@every_store
@pytest.mark.parametrize(
    ("limits", "low", "high"),
    [
        ({"valid_range": np.array([10, 90], "i2")}, 10, 90),
        ({"valid_min": np.int16(10)}, 10, 999),
        ({"valid_max": np.int16(90)}, -999, 90),
        ({"valid_min": np.int16(10), "valid_max": np.int16(90)}, 10, 90),
        # In the units of the decoded values, which the NetCDF Users Guide allows for a wider type.
        ({"valid_range": np.array([0.1, 0.9])}, 10, 90),
        ({"valid_min": 0.1}, 10, 999),
        # A float type, but values that the packing cannot hold.
        ({"valid_range": np.array([10.0, 20000.0])}, 10, 999),
    ],
)
def test_values_outside_of_the_valid_range_are_missing(tmp_path, store, limits, low, high):
    values = np.random.default_rng(0).integers(1, 100, size=SHAPE).astype("i2")
    attrs = {"scale_factor": 0.01, **limits}
    path, _ = write(tmp_path, store, xr.Dataset({"r": (("band", "y", "x"), values, attrs)}))
    found = open_cube(path)
    expected = np.where((values >= low) & (values <= high), values * 0.01, np.nan)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not set(limits) & set(found.attrs)


def test_a_negative_scale_turns_the_limits_of_decoded_values(tmp_path):
    values = np.arange(1, 1 + np.prod(SHAPE), dtype="i2").reshape(SHAPE)
    attrs = {"scale_factor": -0.01, "valid_range": np.array([-0.5, -0.1])}
    path, _ = write(tmp_path, "classic", xr.Dataset({"r": (("band", "y", "x"), values, attrs)}))
    found = open_cube(path)
    np.testing.assert_array_equal(np.isnan(found), (values < 10) | (values > 50))


@pytest.mark.parametrize("limits", ["1 to 9", np.array([9, 1]), np.array([1, 2, 3])])
def test_a_range_that_is_none_is_ignored_with_a_warning(caplog, limits):
    stored = xr.Variable(("band", "y", "x"), np.ones(SHAPE, "i2"), {"valid_range": limits})
    assert not np.isnan(decode("r", stored)).any()
    assert "valid_range of 'r'" in caplog.text


@pytest.mark.parametrize("limits", [{"valid_range": np.array([1, 200], "i2")}, {"valid_max": np.int8(-56)}])
def test_unsigned_bytes_of_classic_netcdf(tmp_path, limits):
    values = np.array([1, 200, 201, 255], "u1").view("i1")
    stored = np.broadcast_to(values, (2, 8, 4)).copy()
    attrs = {"_Unsigned": "true", "_FillValue": np.int8(-1), **limits}
    path, _ = write(tmp_path, "classic", xr.Dataset({"r": (("band", "y", "x"), stored, attrs)}))
    np.testing.assert_array_equal(open_cube(path)[0, 0], [1, 200, np.nan, np.nan])


@every_store
def test_a_negative_fill_of_unsigned_values_marks_no_value(tmp_path, store):
    values = np.full(SHAPE, 55537, "u2")
    path, _ = write(tmp_path, store, xr.Dataset({"r": (("band", "y", "x"), values.astype("i4"), {"nodata": -9999})}))
    np.testing.assert_array_equal(open_cube(path), values)


@every_store
def test_numbers_as_text_are_numbers(tmp_path, store):
    attrs = {"scale_factor": "0.0001", "add_offset": "0.5", "missing_value": "-9999"}
    values = np.full(SHAPE, 3000, "i2")
    values[0, 0, 0] = -9999
    dataset = xr.Dataset({"r": (("band", "y", "x"), values, attrs)})
    if store == "classic":
        dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    else:
        kind, _, group = store.partition("/")
        root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=int(kind[-1]))
        array = (root.create_group(group) if group else root).create_array("r", data=values)
        array.attrs.update(attrs | {"_ARRAY_DIMENSIONS": ["band", "y", "x"]})
    found = open_cube(next(tmp_path.iterdir()), bands=3)
    assert np.isnan(found[0, 0, 0])
    np.testing.assert_allclose(found.values[1], 0.8, rtol=1e-6)


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"scale_factor": "auto"}, "scale_factor of 'r' is 'auto', expected a number"),
        ({"scale_factor": 0.0}, "scale_factor of 'r' is 0, expected a number other than 0"),
        ({"scale_factor": np.array([1.0, 2.0, 3.0])}, "scale_factor of 'r' is .*, expected one number"),
        ({"scale_factor": np.nan}, "scale_factor of 'r' is .*, expected one number"),
        ({"add_offset": "a b"}, "add_offset of 'r' is 'a b', expected a number"),
        ({"missing_value": "see the manual"}, "missing_value of 'r' is .*, expected a number"),
    ],
)
def test_an_attribute_that_changes_values_and_is_no_number_is_named(tmp_path, attrs, message):
    dataset = xr.Dataset({"r": (("band", "y", "x"), np.ones(SHAPE, "i2"), attrs)})
    dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    with pytest.raises(FileFormatError, match=rf"a\.nc: {message}") as caught:
        open_cube(tmp_path / "a.nc")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["nodata", "No_Data_Value", "NoData", "Fill_Value", "Data_Ignore_Value", "ignore value"]
)
def test_other_names_of_missing_data_in_hdf5(tmp_path, name):
    values = np.random.default_rng(0).random((3, 8, 9), dtype=np.float32)
    values[:, 0] = np.float32(-0.01)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["r"] = values
        file["r"].attrs[name] = -0.01
    found = open_cube(tmp_path / "a.h5")
    assert np.isnan(found[:, 0]).all()
    assert not np.isnan(found[:, 1:]).any()
    assert name not in found.attrs


def test_a_zero_that_marks_missing_data_in_packed_zarr_v2(tmp_path):
    values = np.full(SHAPE, 0.3, "f4")
    values[:, 0] = np.nan
    dataset = xr.Dataset({"r": (("band", "y", "x"), values)})
    dataset["r"].encoding = {"_FillValue": np.uint16(0), "dtype": "u2", "scale_factor": 1e-4}
    path, expected = write(tmp_path, "zarr2/group", dataset)
    np.testing.assert_allclose(open_cube(path), expected, rtol=1e-6)
    assert np.isnan(open_cube(path)[:, 0]).all()


def test_packed_coordinates_are_decoded(tmp_path):
    lat = np.arange(72, dtype="i4").reshape(8, 9)
    dataset = xr.Dataset(
        {"r": (("band", "y", "x"), np.ones(SHAPE, "f4"))},
        coords={
            "y": ("y", np.arange(8, dtype="i2"), {"scale_factor": 30.0, "add_offset": 5e6}),
            "lat": (("y", "x"), lat, {"scale_factor": 1e-3, "add_offset": 50.0}),
            "wavelength": ("band", np.array([450, 550, 650], "i2"), {"scale_factor": 1.5, "units": "nm"}),
        },
    )
    dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    found = open_cube(tmp_path / "a.nc")
    np.testing.assert_allclose(found["y"], 5e6 + 30.0 * np.arange(8))
    np.testing.assert_allclose(found["lat"], 50 + 1e-3 * lat)
    np.testing.assert_allclose(found["wavelength_nm"], [675, 825, 975])


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".tif"])
def test_a_packed_cube_is_written_as_other_programs_read_it(tmp_path, suffix):
    values = np.full(SHAPE, 3000, "i2")
    values[:, 0, :3] = 30000
    attrs = {"scale_factor": 1e-4, "valid_range": np.array([1, 16000], "i2"), "nodata": np.int16(0)}
    xr.Dataset({"r": (("band", "y", "x"), values, attrs)}).to_netcdf(tmp_path / "in.nc", engine="scipy")
    save_cube(open_cube(tmp_path / "in.nc"), tmp_path / f"out{suffix}")
    expected = np.where(values == 30000, np.nan, np.float32(0.3))
    np.testing.assert_allclose(open_cube(tmp_path / f"out{suffix}"), expected, rtol=1e-6)
    if suffix == ".zarr":
        with xr.open_zarr(tmp_path / "out.zarr") as dataset:
            np.testing.assert_allclose(dataset["reflectance"], expected, rtol=1e-6)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / f"out{suffix}") as raster:
            found = raster.read(masked=True)
    assert np.ma.getmaskarray(found).mean() == pytest.approx(3 / 72)
    np.testing.assert_allclose(found.compressed(), 0.3, rtol=1e-6)
