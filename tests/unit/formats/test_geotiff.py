import dask
import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube

NM = np.array([450.0, 500.0, 550.0, 600.0, 650.0])
TRANSFORM = Affine(4, 0, 500000, 0, -4, 4649000)


@pytest.fixture
def write_tiff(tmp_path):
    """Writes a file through GDAL and gives its path."""

    def write(values, *, touch=lambda raster: None, **profile):
        bands, height, width = values.shape
        options = {"crs": "EPSG:32632", "transform": TRANSFORM, "dtype": values.dtype.name} | profile
        path = tmp_path / "a.tif"
        with rasterio.open(path, "w", driver="GTiff", count=bands, height=height, width=width, **options) as raster:
            raster.write(values)
            touch(raster)
        return path

    return write


@pytest.mark.parametrize("interleave", ["band", "pixel"])
@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"compress": "lzw"}])
@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "float32", "float64"])
def test_every_layout_gives_values_and_position(write_tiff, interleave, layout, kind):
    values = np.random.default_rng(0).integers(0, 200, size=(5, 40, 30)).astype(kind)
    cube = open_cube(write_tiff(values, interleave=interleave, **layout))
    assert (cube.dims, cube.dtype, cube.encoding["stored_dtype"]) == (("band", "y", "x"), np.float32, kind)
    assert cube.chunks is not None
    np.testing.assert_array_equal(cube, values)
    np.testing.assert_array_equal(cube[::-2, 3:20:4, 7], values[::-2, 3:20:4, 7])
    assert cube.rio.crs.to_epsg() == 32632
    assert cube["spatial_ref"].attrs["GeoTransform"] == "500000.0 4.0 0.0 4649000.0 0.0 -4.0"
    np.testing.assert_array_equal(cube["y"], 4649000 - 4 * (np.arange(40) + 0.5))
    np.testing.assert_array_equal(cube["x"], 500000 + 4 * (np.arange(30) + 0.5))
    assert set(cube.coords) == {"y", "x", "spatial_ref"}


def test_threads_and_other_processes_can_read(write_tiff):
    values = np.random.default_rng(0).random((5, 600, 500), dtype=np.float32)
    cube = open_cube(write_tiff(values))
    with dask.config.set(scheduler="threads", num_workers=4):
        np.testing.assert_array_equal(cube, values)
    import pickle

    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cube)), values)


@pytest.mark.parametrize(("kind", "nodata"), [("int16", -9999), ("uint16", 65535), ("float32", -3.4e38), ("int32", -1)])
def test_pixels_without_data_are_nan(write_tiff, kind, nodata):
    values = np.ones((3, 8, 12), dtype=kind)
    values[1, 2, 3] = nodata
    cube = open_cube(write_tiff(values, nodata=nodata))
    assert np.argwhere(np.isnan(cube.values)).tolist() == [[1, 2, 3]]
    assert float(cube.max()) == 1


def test_a_scale_and_an_offset_of_gdal_are_applied(write_tiff):
    def touch(raster):
        raster.scales = (0.5, 0.25)
        raster.offsets = (0.0, 1.0)

    cube = open_cube(write_tiff(np.full((2, 8, 12), 4, dtype=np.int16), touch=touch))
    assert cube[:, 0, 0].values.tolist() == [2.0, 2.0]
    assert not {"scale_factor", "add_offset"} & set(cube.attrs)


def _tags(raster):
    for band, nm in enumerate(NM, start=1):
        raster.update_tags(band, wavelength=str(nm / 1000), wavelength_units="Micrometers")


def _imagery(raster):
    for band, nm in enumerate(NM, start=1):
        raster.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=str(nm / 1000))


def _descriptions(form):
    def touch(raster):
        for band, nm in enumerate(NM, start=1):
            raster.set_band_description(band, form.format(band=band, nm=nm, um=nm / 1000))

    return touch


@pytest.mark.parametrize(
    "touch",
    [
        _tags,
        _imagery,
        _descriptions("Band {band} ({nm} nm)"),
        _descriptions("{nm} Nanometers"),
        _descriptions("{um} um"),
        _descriptions("{um:.4f} Micrometers"),
        _descriptions("{nm}"),
        lambda raster: raster.update_tags(wavelengths="{450, 500, 550, 600, 650}", wavelength_units="nm"),
        lambda raster: raster.update_tags(**{f"Band_{i}": f"{nm} Nanometers" for i, nm in enumerate(NM, start=1)}),
    ],
)
def test_wavelengths_wherever_programs_put_them(write_tiff, cube_values, touch):
    np.testing.assert_allclose(open_cube(write_tiff(cube_values, touch=touch))["wavelength_nm"], NM, rtol=1e-6)


@pytest.mark.parametrize("touch", [_descriptions("Band {band}"), _descriptions("{band}"), lambda raster: None])
def test_numbers_of_bands_are_no_wavelengths(write_tiff, cube_values, touch):
    assert "wavelength_nm" not in open_cube(write_tiff(cube_values, touch=touch)).coords


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "minisblack"},
        {"photometric": "minisblack", "planarconfig": "separate"},
        {"photometric": "minisblack", "compression": "zlib"},
    ],
)
def test_a_stack_without_a_position_as_tifffile_writes_it(tmp_path, cube_values, options):
    tifffile.imwrite(tmp_path / "a.tif", cube_values, **options)
    cube = open_cube(tmp_path / "a.tif")
    np.testing.assert_array_equal(cube, cube_values)
    assert set(cube.coords) == set()


def test_pages_keep_their_order_beyond_the_ninth(tmp_path):
    values = np.random.default_rng(0).random((12, 6, 7), dtype=np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    np.testing.assert_array_equal(open_cube(tmp_path / "a.tif"), values)


def test_samples_of_pixels_as_tifffile_writes_them(tmp_path, cube_values):
    pixels = np.ascontiguousarray(cube_values.transpose(1, 2, 0))
    tifffile.imwrite(tmp_path / "a.TIFF", pixels, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(open_cube(tmp_path / "a.TIFF"), cube_values)


def test_of_several_images_the_cube_is_taken_or_named(tmp_path, cube_values):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(cube_values[0, :4, :4], photometric="minisblack", metadata=None)
        file.write(cube_values, photometric="minisblack", planarconfig="separate", metadata=None)
    np.testing.assert_array_equal(open_cube(tmp_path / "a.tif"), cube_values)
    np.testing.assert_array_equal(open_cube(tmp_path / "a.tif", variable="page_1"), cube_values[:1, :4, :4])
    with pytest.raises(FileFormatError, match=r"no variable 'x'; the file holds page_2 5x8x12, page_1 1x4x4"):
        open_cube(tmp_path / "a.tif", variable="x")


@pytest.mark.parametrize("kind", ["gdal_band", "gdal_pixel", "gdal_tiles", "stack", "deflate"])
def test_a_file_cut_anywhere_is_one_clear_error(tmp_path, write_tiff, kind):
    values = np.random.default_rng(0).random((5, 40, 30), dtype=np.float32)
    path = tmp_path / "a.tif"
    if kind.startswith("gdal"):
        tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16} if kind == "gdal_tiles" else {}
        path = write_tiff(values, interleave="pixel" if kind == "gdal_pixel" else "band", **tiles)
    else:
        tifffile.imwrite(path, values, photometric="minisblack", compression="zlib" if kind == "deflate" else None)
    content = path.read_bytes()
    for size in [*range(0, len(content), 617), len(content) - 30]:
        path.write_bytes(content[:size])
        with pytest.raises(FileFormatError, match=r"a\.tif") as caught:
            open_cube(path)
        assert "\n" not in str(caught.value)


def test_damage_that_shows_only_in_the_values_is_named_when_they_are_read(write_tiff):
    values = np.random.default_rng(0).random((5, 40, 30), dtype=np.float32)
    path = write_tiff(values, compress="deflate")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = b"\xff" * 2000
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.tif cannot be read, the file is damaged"):
        open_cube(path).load()


def test_a_file_that_points_at_others_is_refused(tmp_path, write_tiff, cube_values):
    source = write_tiff(cube_values)
    vrt = (
        '<VRTDataset rasterXSize="12" rasterYSize="8"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        f"<SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    for name in ("b.vrt", "b.tif"):
        (tmp_path / name).write_text(vrt)
        with pytest.raises(FileFormatError, match=rf"{name}"):
            open_cube(tmp_path / name)


def test_complex_numbers_are_refused(write_tiff):
    with pytest.raises(FileFormatError, match="real numbers, got complex64"):
        open_cube(write_tiff(np.zeros((2, 8, 12), dtype=np.complex64)))


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_pages_of_equal_tags_are_read_as_tifffile_reads_them(tmp_path, compression):
    values = np.random.default_rng(0).integers(0, 4000, (700, 5, 7), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "cube.tif", values, photometric="minisblack", metadata=None, compression=compression)
    cube = open_cube(tmp_path / "cube.tif")
    np.testing.assert_array_equal(cube, tifffile.imread(tmp_path / "cube.tif").astype("f4"))
    np.testing.assert_array_equal(cube[300:690:7, 1:3, ::2], values[300:690:7, 1:3, ::2])


def test_each_page_has_its_value_without_data(tmp_path):
    marks = [3, 3, 5, 5, 3]
    with tifffile.TiffWriter(tmp_path / "cube.tif") as writer:
        for page, mark in enumerate(marks):
            tag = (42113, 2, len(str(mark)) + 1, str(mark), True)
            image = np.array([[3, 5, page]], np.uint8)
            writer.write(image, metadata=None, contiguous=False, description=f"page {page}", extratags=[tag])
    cube = open_cube(tmp_path / "cube.tif").to_numpy()
    assert [np.isnan(band[0]).tolist() for band in cube] == [
        [mark == 3, mark == 5, mark == page] for page, mark in enumerate(marks)
    ]
