"""Published spectral responses, read as they were published, beside the Gaussian bands that are built in."""

from pathlib import Path

import numpy as np
import pytest

from hsipipe.degradation.srf import SRFS, band_names, response

TABLES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "srf"
if not TABLES.exists():
    pytest.skip("the published tables are not beside this checkout (../shared/data/srf)", allow_module_level=True)

FINE = np.arange(340.0, 2600.0, 1.0)
SENSORS = {
    "sentinel2": "S2A_MSI.txt#2,3,4,5,6,7,8,8A",
    "landsat8": "L8_OLI.txt#1,2,3,4,5",
    "ikonos": "IKONOS2.txt#Blue,Green,Red,NIR",
    "worldview2": "WorldView2.txt#1,2,3,4,5,6,7,8",
    "worldview3": "WorldView3.txt#1,2,3,4,5,6,7,8",
    "worldview3_nir1": "WorldView3.txt#1,2,3,4,5,6,7",
}
BANDS = {
    "EO1_ALI.txt": 10,
    "IKONOS2.txt": 5,
    "L8_OLI.txt": 9,
    "QuickBird2.txt": 5,
    "S2A_MSI.txt": 13,
    "WorldView2.txt": 9,
    "WorldView3.txt": 17,
    "ikonos.mat": 5,
}
MATRICES = {"nikon_d700_31x3.mat": (3, 31), "chikusei_128x4.mat": (4, 128), "pavia_rosis_4x103.mat": (4, 103)}


def test_every_file_there_is_tested():
    assert {path.name for path in TABLES.iterdir()} == {*BANDS, *MATRICES}


@pytest.mark.parametrize("name", BANDS)
def test_all_bands_of_a_table(name):
    path = str(TABLES / name)
    assert len(band_names(path)) == BANDS[name]
    matrix = response(path, FINE)
    assert matrix.shape == (BANDS[name], FINE.size)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("name", MATRICES)
def test_matrices(name):
    bands = MATRICES[name][1]
    matrix = response(str(TABLES / name), [], bands=bands)
    assert matrix.shape == MATRICES[name]
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_nanometres_and_micrometres_give_the_same():
    """IKONOS in two files: text in micrometres, and a matrix in nanometres."""
    a, b = (response(str(TABLES / f"{name}#2,3,4,5"), FINE[60:660]) for name in ("IKONOS2.txt", "ikonos.mat"))
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_ids_and_titles():
    assert band_names(str(TABLES / "S2A_MSI.txt#2,8a")) == ["2", "8A"]
    assert band_names(str(TABLES / "QuickBird2.txt")) == ["PAN", "1 Blue", "2 Green", "3 Red", "4 NIR"]


@pytest.mark.parametrize("sensor", SENSORS)
def test_the_built_in_bands_are_the_published_ones(sensor):
    """Middle and width at half of the maximum; the tables' steps are 1 to 5 nm."""
    matrix = response(str(TABLES / SENSORS[sensor]), FINE)
    for row, band in zip(matrix, SRFS[sensor], strict=True):
        above = FINE[row >= row.max() / 2]
        assert (above[0] + above[-1]) / 2 == pytest.approx(band.centre_nm, abs=3), band
        assert above[-1] - above[0] + 1 == pytest.approx(band.fwhm_nm, abs=8), band


def test_the_camera_of_the_cave_papers_is_near_its_table():
    nm = np.arange(400.0, 701.0, 10.0)
    table, built_in = response(str(TABLES / "nikon_d700_31x3.mat"), nm, bands=31), response("nikon_d700", nm)
    cosine = (table * built_in).sum(axis=1) / np.linalg.norm(table, axis=1) / np.linalg.norm(built_in, axis=1)
    assert (cosine > 0.97).all()
