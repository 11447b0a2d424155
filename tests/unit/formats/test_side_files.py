"""The files next to a raster are checked before GDAL trusts them."""

import numpy as np
import pytest
import rasterio

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube
from hsipipe.formats.xml_files import read_xml

BAND = '<PAMRasterBand band="{}">{}</PAMRasterBand>'


@pytest.fixture
def with_pam(tmp_path):
    """Writes a TIFF of two bands with a side file, and gives its path."""

    def write(text):
        path = tmp_path / "a.tif"
        profile = {"count": 2, "height": 4, "width": 5, "dtype": "int16", "crs": 32632}
        with rasterio.open(
            path, "w", driver="GTiff", transform=rasterio.Affine(2, 0, 0, 0, -2, 0), **profile
        ) as raster:
            raster.write(np.full((2, 4, 5), 5, "i2"))
        (tmp_path / "a.tif.aux.xml").write_text(text)
        return path

    return write


def test_what_gdal_writes_is_trusted(with_pam):
    path = with_pam("")
    with rasterio.open(path, "r+") as raster:
        raster.write(np.full((2, 4, 5), 5, "i2"))
    assert (open_cube(path) == 5).all()
    scaled = BAND.format(1, "<Scale>0.5</Scale><Offset>1</Offset><NoDataValue>7</NoDataValue>")
    statistics = BAND.format(2, '<Metadata><MDI key="STATISTICS_MEAN">5</MDI></Metadata>')
    cube = open_cube(with_pam(f"<PAMDataset>{scaled}{statistics}</PAMDataset>"))
    assert cube[:, 0, 0].values.tolist() == [3.5, 5.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BAND.format(3, "<Scale>2</Scale>"), "describes band 3, the image has 2 bands"),
        (BAND.format("x", ""), "describes a band 'x'"),
        (BAND.format(-1, ""), "describes a band '-1'"),
        (BAND.format(1, "<Scale>0</Scale>"), "has the Scale '0', expected 1 finite numbers, and no scale of 0"),
        (BAND.format(1, "<Scale>inf</Scale>"), "has the Scale 'inf'"),
        (BAND.format(1, "<Offset>many</Offset>"), "has the Offset 'many'"),
        (BAND.format(1, "<NoDataValue>1 2</NoDataValue>"), "has the NoDataValue '1 2'"),
        ("<GeoTransform>1, 2, 3</GeoTransform>", "has the GeoTransform '1, 2, 3', expected 6 finite numbers"),
        (
            '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/http://x/y</MDI></Metadata>',
            "names another file",
        ),
        ("<a>", "is not well-formed XML"),
    ],
)
def test_a_side_file_that_cannot_be_right_is_one_clear_error(with_pam, text, message):
    with pytest.raises(FileFormatError, match=message) as caught:
        open_cube(with_pam(f"<PAMDataset>{text}</PAMDataset>"))
    assert "a.tif.aux.xml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_kind_of_xml_is_refused(with_pam):
    with pytest.raises(FileFormatError, match=r"holds <VRTDataset>, expected <PAMDataset>"):
        open_cube(with_pam("<VRTDataset/>"))


def test_entities_are_refused(with_pam):
    bomb = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><PAMDataset>&d;</PAMDataset>'
    with pytest.raises(FileFormatError, match="declares a document type"):
        open_cube(with_pam(bomb))


def test_gdal_opens_nothing_before_the_check(with_pam, monkeypatch):
    path = with_pam("<VRTDataset/>")
    monkeypatch.setattr(rasterio, "open", lambda *args, **options: pytest.fail("GDAL has opened the file"))
    with pytest.raises(FileFormatError, match="expected <PAMDataset>"):
        open_cube(path)


def test_an_empty_side_file_says_nothing(with_pam):
    assert open_cube(with_pam("")).shape == (2, 4, 5)


def test_a_side_file_that_changes_is_checked_again(with_pam):
    path = with_pam("<PAMDataset></PAMDataset>")
    cube = open_cube(path)
    path.with_name("a.tif.aux.xml").write_text("<VRTDataset/>")
    with pytest.raises(FileFormatError, match="expected <PAMDataset>"):
        cube.load()


def test_a_mask_that_refers_to_other_files_is_refused(with_pam, tmp_path):
    path = with_pam("")
    (tmp_path / "a.tif.msk").write_text("<VRTDataset/>")
    with pytest.raises(FileFormatError, match=r"the mask a\.tif\.msk next to it is not a TIFF"):
        open_cube(path)


def test_large_xml_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text("<a>" + "<b/>" * 400_001 + "</a>")
    with pytest.raises(FileFormatError, match="has more than 400000 elements"):
        read_xml(tmp_path / "a.xml")
    with (tmp_path / "b.xml").open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(FileFormatError, match="expected at most 16777216 of XML"):
        read_xml(tmp_path / "b.xml")


def test_the_side_file_of_an_envi_file_is_checked(tmp_path):
    np.zeros(60, "<f4").tofile(tmp_path / "a.dat")
    info = "map info = {UTM, 1, 1, 500000, 4649000, 20, 20, 33, North, WGS-84}\n"
    header = f"ENVI\nsamples = 5\nlines = 4\nbands = 3\ndata type = 4\ninterleave = bsq\n{info}"
    (tmp_path / "a.hdr").write_text(header)
    (tmp_path / "a.dat.aux.xml").write_text("<PAMDataset><GeoTransform>1</GeoTransform></PAMDataset>")
    with pytest.raises(FileFormatError, match=r"a\.dat\.aux\.xml has the GeoTransform '1'"):
        open_cube(tmp_path / "a.hdr")
