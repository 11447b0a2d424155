import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import crs_of, gcps_of, transform_of

NM = [450.0, 500.0, 550.0, 600.0, 650.0]
CODES = {"u1": 1, "i2": 2, "i4": 3, "f4": 4, "f8": 5, "u2": 12, "u4": 13, "i8": 14, "u8": 15}
ORDERS = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


def write_envi(path, values, *, interleave="bsq", big=False, offset=0, header=None, **fields):
    """The numbers by NumPy alone, the header by hand; a field that is None is omitted."""
    kind = values.dtype.newbyteorder(">" if big else "<")
    path.write_bytes(b"\xff" * offset + values.transpose(ORDERS[interleave]).astype(kind).tobytes())
    bands, lines, samples = values.shape
    given_fields = {
        "description": "{made for a test,\n samples = 7}",
        "samples": samples,
        "lines": lines,
        "bands": bands,
        "header offset": offset,
        "data type": CODES[values.dtype.str[1:]],
        "interleave": interleave,
        "byte order": int(big),
        **{name.replace("_", " "): value for name, value in fields.items()},
    }
    text = "ENVI\n" + "".join(f"{name} = {value}\n" for name, value in given_fields.items() if value is not None)
    (header or path.with_suffix(".hdr")).write_text(text, encoding="utf-8")
    return path


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    kind=st.sampled_from(sorted(CODES)),
    interleave=st.sampled_from(sorted(ORDERS)),
    big=st.booleans(),
    offset=st.sampled_from([0, 1, 128]),
    seed=st.integers(0, 99),
)
def test_every_layout_gives_the_values_back(tmp_path_factory, shape, kind, interleave, big, offset, seed):
    values = np.random.default_rng(seed).integers(0, 100, size=shape).astype(kind)
    path = tmp_path_factory.mktemp("envi") / "a.img"
    write_envi(path, values, interleave=interleave, big=big, offset=offset)
    cube = open_cube(path)
    assert cube.dtype == np.float32
    assert cube.chunks is not None
    assert cube.encoding["stored_dtype"] == np.dtype(kind).name
    np.testing.assert_array_equal(cube, values)


@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq", "BIL"])
def test_the_capitals_of_names_and_values_do_not_matter(tmp_path, cube_values, interleave):
    write_envi(tmp_path / "a.dat", cube_values, interleave=interleave.lower())
    header = tmp_path / "a.hdr"
    text = header.read_text().replace(f"interleave = {interleave.lower()}", f"Interleave={interleave}")
    header.write_bytes(b"\xef\xbb\xbf" + text.replace("lines", "Lines ").replace("\n", "\r\n").encode())
    np.testing.assert_array_equal(open_cube(tmp_path / "a.dat"), cube_values)


@pytest.mark.parametrize("data", ["a.img", "a.dat", "a.raw", "a.bsq", "a.bin", "a", "a.IMG", "a.v2.img"])
@pytest.mark.parametrize("beside", ["replaced", "appended"])
def test_header_and_data_find_each_other(tmp_path, cube_values, data, beside):
    path = tmp_path / data
    header = path.with_suffix(".hdr") if beside == "replaced" else path.with_name(f"{data}.hdr")
    write_envi(path, cube_values, header=header)
    for name in (path, header):
        np.testing.assert_array_equal(open_cube(name), cube_values)


def test_latin_letters_and_comments_in_a_header(tmp_path, cube_values):
    write_envi(tmp_path / "a.img", cube_values)
    header = tmp_path / "a.hdr"
    header.write_bytes(header.read_bytes() + b"; lines = 3\nplace = {Universit\xe9}\n")
    np.testing.assert_array_equal(open_cube(header), cube_values)


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        ("Nanometers", 1),
        ("Micrometers", 1e-3),
        ("um", 1e-3),
        *((units, f) for units in ("Unknown", None) for f in (1e-3, 1)),
    ],
)
def test_wavelengths_and_widths_come_in_nm(tmp_path, cube_values, units, factor):
    numbers = "{" + ",\n ".join(str(nm * factor) for nm in NM) + "}"
    widths = "{" + ", ".join([str(10 * factor)] * 5) + "}"
    write_envi(tmp_path / "a.img", cube_values, wavelength=numbers, wavelength_units=units, fwhm=widths)
    cube = open_cube(tmp_path / "a.img")
    np.testing.assert_allclose(cube["wavelength_nm"], NM)
    np.testing.assert_allclose(cube["fwhm_nm"], 10)
    assert cube["wavelength_nm"].attrs["units"] == "nm"


def test_an_axis_that_is_no_wavelength_is_none(tmp_path, cube_values):
    write_envi(tmp_path / "a.img", cube_values, wavelength="{1, 2, 3, 4, 5}", wavelength_units="Index")
    assert "wavelength_nm" not in open_cube(tmp_path / "a.img").coords


def test_names_of_bands_may_say_the_wavelengths(tmp_path, cube_values):
    names = "{" + ", ".join(f"Band {i} ({nm} nm)" for i, nm in enumerate(NM)) + "}"
    write_envi(tmp_path / "a.img", cube_values, band_names=names)
    np.testing.assert_allclose(open_cube(tmp_path / "a.img")["wavelength_nm"], NM)


def test_values_are_as_stored_whatever_the_scale_factor(tmp_path):
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    write_envi(tmp_path / "a.img", values, reflectance_scale_factor=10000, bbl="{1, 0, 1}")
    cube = open_cube(tmp_path / "a.img")
    np.testing.assert_array_equal(cube, values)
    assert cube.attrs == {"reflectance_scale_factor": 10000.0, "bad_bands": [2]}


@pytest.mark.parametrize(("kind", "ignored"), [("i2", "-9999"), ("f4", "-9.99900000e+003"), ("u2", "65535")])
def test_ignored_values_are_nan(tmp_path, kind, ignored):
    values = np.ones((3, 4, 5), dtype=kind)
    values[1, 2, 3] = float(ignored)
    write_envi(tmp_path / "a.img", values, data_ignore_value=ignored)
    cube = open_cube(tmp_path / "a.img")
    assert cube.dtype == np.float32
    assert np.argwhere(np.isnan(cube.values)).tolist() == [[1, 2, 3]]


def test_a_position_as_gdal_writes_it(tmp_path, cube_values):
    transform = Affine(4, 0, 500000, 0, -4, 4649000)
    profile = {"count": 5, "height": 8, "width": 12, "dtype": "float32", "interleave": "bil"}
    path = tmp_path / "a.img"
    with rasterio.open(path, "w", driver="ENVI", crs="EPSG:32632", transform=transform, nodata=-1, **profile) as raster:
        raster.write(cube_values)
    cube = open_cube(tmp_path / "a.hdr")
    np.testing.assert_array_equal(cube, cube_values)
    assert cube.rio.crs.to_epsg() == 32632
    assert cube["spatial_ref"].attrs["GeoTransform"] == "500000.0 4.0 0.0 4649000.0 0.0 -4.0"
    np.testing.assert_array_equal(cube["y"], 4649000 - 4 * (np.arange(8) + 0.5))
    np.testing.assert_array_equal(cube["x"], 500000 + 4 * (np.arange(12) + 0.5))


def test_map_info_alone_gives_the_position(tmp_path, cube_values):
    info = "{UTM, 1.5, 1.5, 500000, 4649000, 20, 20, 33, South, WGS-84, units=Meters}"
    write_envi(tmp_path / "a.img", cube_values, map_info=info)
    cube = open_cube(tmp_path / "a.img")
    assert cube.rio.crs.to_epsg() == 32733
    assert (float(cube["x"][0]), float(cube["y"][0])) == (500000, 4649000)


def test_a_turned_image_keeps_its_transform_without_y_and_x(tmp_path, cube_values):
    info = "{UTM, 1, 1, 500000, 4649000, 20, 20, 33, North, WGS-84, units=Meters, rotation=30}"
    write_envi(tmp_path / "a.img", cube_values, map_info=info)
    cube = open_cube(tmp_path / "a.img")
    assert not {"y", "x"} & set(cube.coords)
    left, a, b, top, d, e = map(float, cube["spatial_ref"].attrs["GeoTransform"].split())
    assert (left, top) == (500000, 4649000)
    np.testing.assert_allclose([np.hypot(a, d), np.hypot(b, e)], 20)
    assert abs(b) > 1


GEO_POINTS = (
    "{ 1.0000, 1.0000, 48.50000000, 11.25000000,\n 6.5000, 1.0000, 48.50000000, 11.75000000,\n"
    " 3.2500, 5.0000, -0.10000000, -11.20000000 }"
)


def test_geo_points_are_ground_control_points(tmp_path, cube_values):
    write_envi(tmp_path / "cube.dat", cube_values, **{"geo points": GEO_POINTS})
    cube = open_cube(tmp_path / "cube.hdr")
    # ENVI counts pixels from (1, 1), the outer corner of the first one, and names the latitude first.
    expected = [(0.0, 0.0, 11.25, 48.5), (0.0, 5.5, 11.75, 48.5), (4.0, 2.25, -11.2, -0.1)]
    assert [(point.row, point.col, point.x, point.y) for point in gcps_of(cube)] == expected
    assert crs_of(cube).to_epsg() == 4326
    assert not {"y", "x"}.intersection(cube.coords)
    with rasterio.open(tmp_path / "cube.dat", driver="ENVI") as raster:
        assert [(point.row, point.col, point.x, point.y) for point in raster.gcps[0]] == expected
    save_cube(cube, tmp_path / "cube.tif")
    with rasterio.open(tmp_path / "cube.tif") as raster:
        assert [(point.row, point.col, point.x, point.y) for point in raster.gcps[0]] == expected


def test_map_info_comes_before_geo_points(tmp_path, cube_values):
    position = "{Geographic Lat/Lon, 1, 1, 11, 48, 0.5, 0.25, WGS-84}"
    write_envi(tmp_path / "cube.dat", cube_values, **{"geo points": GEO_POINTS, "map info": position})
    cube = open_cube(tmp_path / "cube.hdr")
    assert gcps_of(cube) == []
    assert transform_of(cube) == Affine(0.5, 0, 11, 0, -0.25, 48)


@pytest.mark.parametrize("points", ["{}", "{1, 1, 48}", "{1, 1, 48, north}", "{1, 1"])
def test_odd_geo_points_cost_the_position_alone(tmp_path, cube_values, points):
    write_envi(tmp_path / "cube.dat", cube_values, **{"geo points": points})
    cube = open_cube(tmp_path / "cube.hdr")
    np.testing.assert_array_equal(cube, cube_values)
    assert gcps_of(cube) == []


@pytest.mark.parametrize("missing", [1, 100, 1000, 1920])
def test_a_short_file_is_found_when_it_is_opened(tmp_path, cube_values, missing):
    path = write_envi(tmp_path / "a.img", cube_values)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(FileFormatError, match=rf"a\.img has {1920 - missing} bytes, expected 1920 by its header"):
        open_cube(tmp_path / "a.hdr")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lines": None}, "has no field 'lines'; add it"),
        ({"samples": None}, "has no field 'samples'"),
        ({"bands": "many"}, "bands is 'many', expected an integer of at least 1"),
        ({"bands": 0}, "bands is '0', expected an integer"),
        ({"header_offset": "-1"}, "header offset is '-1'"),
        ({"data_type": 6}, "values are complex"),
        ({"data_type": 7}, "data type is 7, expected one of 1, 2, 3"),
        ({"byte_order": 2}, "byte order is 2, expected 0"),
        ({"interleave": "tiled"}, "interleave is 'tiled', expected bil, bip or bsq"),
        ({"interleave": None}, "interleave is 'missing'"),
        ({"file_compression": 1}, "data file is compressed"),
        ({"major_frame_offsets": "{0, 12}"}, "major frame offsets are"),
        (
            {"file_type": "ENVI Spectral Library"},
            "no image but a spectral library, of 8 spectra with 12 wave",
        ),
    ],
)
def test_a_header_that_does_not_fit_is_one_clear_error(tmp_path, cube_values, fields, message):
    write_envi(tmp_path / "a.img", cube_values, **({"interleave": "bsq"} if "interleave" not in fields else {}))
    text = (tmp_path / "a.hdr").read_text()
    for name, value in fields.items():
        name = name.replace("_", " ")
        text = "".join(line for line in text.splitlines(True) if not line.startswith(f"{name} ="))
        text += f"{name} = {value}\n" if value is not None else ""
    (tmp_path / "a.hdr").write_text(text)
    with pytest.raises(FileFormatError, match=message) as caught:
        open_cube(tmp_path / "a.img")
    assert "\n" not in str(caught.value)


def test_a_part_without_the_other_is_named(tmp_path, cube_values):
    write_envi(tmp_path / "a.img", cube_values)
    (tmp_path / "a.img").rename(tmp_path / "b.img")
    with pytest.raises(FileFormatError, match="no data file next to this header; expected a with one of the suffixes"):
        open_cube(tmp_path / "a.hdr")
    with pytest.raises(FileFormatError, match=r"no format reads '\.img'; .*ENVI data with a header next to it"):
        open_cube(tmp_path / "b.img")
    (tmp_path / "c.hdr").write_text("BYTEORDER I\n")
    with pytest.raises(FileFormatError, match=r"c\.hdr: not an ENVI header"):
        open_cube(tmp_path / "c.hdr")


def test_empty_lists_and_braces_say_what_they_say(tmp_path, cube_values):
    fields = {"wavelength units": "{Micrometers}", "wavelength": "{.45,.5,.55,.6,.65}", "bbl": "{}", "fwhm": "{ }"}
    cube = open_cube(write_envi(tmp_path / "a.img", cube_values, **fields))
    np.testing.assert_allclose(cube["wavelength_nm"], NM)
    assert "bad_bands" not in cube.attrs


def test_a_header_that_gdal_refuses_costs_the_position_alone(tmp_path, cube_values, caplog):
    place = "{UTM, 1, 1, 500000, 4000000, 30, 30, 33, North, WGS-84, units=Meters}"
    path = write_envi(tmp_path / "a.dat", cube_values, map_info=place)
    header = path.with_suffix(".hdr")
    header.write_bytes(b"\xef\xbb\xbf" + header.read_bytes())
    np.testing.assert_array_equal(open_cube(path), cube_values)
    assert "the position is skipped" in caplog.text
