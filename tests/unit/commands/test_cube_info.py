"""What `hsipipe info` prints; the command itself is in test_command_line.py."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import xarray as xr
from affine import Affine
from rich.console import Console

from hsipipe.commands.cube_facts import CubeFacts
from hsipipe.commands.cube_info import cube_table
from hsipipe.formats import save_cube
from hsipipe.formats.georeference import attach


def lines(path, **options):
    """What the table says in a terminal of 80 columns, by its first column."""
    console = Console(width=80)
    with console.capture() as capture:
        console.print(cube_table(CubeFacts.read(path, **options)))
    found, key = {}, ""
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    for line in text.splitlines():
        key = line[:13].strip() or key
        found[key] = " ".join([*found.get(key, "").split(), *line[13:].split()])
    return found


@pytest.fixture
def cube():
    values = np.random.default_rng(0).integers(-3, 9000, size=(6, 40, 30)).astype(np.float32)
    nm = [400.0, 410.0, 420.0, 430.0, 440.0, 455.0]
    return xr.DataArray(values, dims=("band", "y", "x")).assign_coords(wavelength_nm=("band", nm))


@pytest.mark.parametrize("name", ["scene[red].npy", "[/b].npy"])
def test_the_name_of_a_file_is_no_markup(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    np.save(path, np.ones((2, 3, 3), np.float32))
    assert lines(path)["file"] == name


def test_what_a_good_cube_says(tmp_path, cube):
    cube = attach(cube, crs=32632, transform=Affine(4, 0, 500000, 0, -4, 4649000))
    save_cube(cube, tmp_path / "a.tif")
    found = lines(tmp_path / "a.tif")
    assert found["format"] == "GeoTIFF"
    assert found["shape"] == "6 bands, 40 rows, 30 columns"
    assert found["stored"].startswith("float32, ")
    assert found["stored"].endswith("kB on disk")
    assert found["wavelengths"] == "400 to 455 nm, steps of 10 to 15 nm"
    assert found["values"] == f"{cube.min():g} to {cube.max():g}, mean {cube.mean():.4g}"
    assert found["NaN or Inf"] == "0"
    assert found["negative"].split()[0] == str(int((cube < 0).sum()))
    assert found["dead bands"] == "none"
    assert found["position"] == (
        "WGS 84 / UTM zone 32N (EPSG:32632); pixels of 4 x 4 m; x 500000 to 500120, y 4648840 to 4649000"
    )
    assert "dataset.folder.full_scale=10000 if these are scaled reflectances" in found["hints"]


def test_what_is_wrong_is_counted_and_how_to_mend_it_is_said(tmp_path, cube):
    values = cube.values / 9000
    values[1] = 0.5
    values[2, 3, 4] = np.nan
    values[3, 0, 0] = np.inf
    values[4, 0, 0] = 3.5  # a glint
    save_cube(xr.DataArray(values, dims=cube.dims), tmp_path / "a.npy")
    found = lines(tmp_path / "a.npy")
    assert found["wavelengths"] == "unknown"
    assert found["NaN or Inf"] == "2"
    assert found["dead bands"] == "band 2"
    assert found["position"] == "unknown"
    for hint in (
        "full_scale=1: the values look like reflectances",
        "NaN or Inf in 2 of the bands",
        "dataset.folder.drop_bands=[2] leaves",
        "dataset.folder.wavelength_nm can say the wavelengths",
    ):
        assert hint in found["hints"]


def test_the_variables_of_a_file_are_listed(tmp_path, cube):
    values = cube.values.astype(np.int16)
    scipy.io.savemat(tmp_path / "a.mat", {"hsi": values.transpose(1, 2, 0), "map": np.zeros((40, 30)), "n": 3})
    found = lines(tmp_path / "a.mat")
    assert found["variable"] == "hsi; beside it map 40x30, n 1x1"
    assert found["stored"].startswith("int16")
    assert lines(tmp_path / "a.mat", variable="map")["shape"] == "1 bands, 40 rows, 30 columns"


def test_the_header_of_envi_is_heard(tmp_path, cube):
    values = cube.values.astype("<i2")
    (tmp_path / "a.img").write_bytes(values.tobytes())
    (tmp_path / "a.hdr").write_text(
        "ENVI\nsamples = 30\nlines = 40\nbands = 6\ndata type = 2\ninterleave = bsq\nbyte order = 0\n"
        "reflectance scale factor = 5000\nbbl = {1, 1, 0, 1, 1, 0}\n"
    )
    for name in ("a.img", "a.hdr"):
        found = lines(tmp_path / name)
        assert found["bad bands"] == "band 3, band 6"
        assert "dataset.folder.full_scale=5000, as the file says" in found["hints"]
        assert "drop_bands=[3, 6]" in found["hints"]
        assert found["stored"].startswith("int16, 14.")


def test_an_empty_cube_is_described_too(tmp_path, cube):
    save_cube(cube * np.nan, tmp_path / "a.nc")
    found = lines(tmp_path / "a.nc")
    assert found["values"] == "none is finite"
    assert found["NaN or Inf"] == "7200 (100 %)"


@pytest.mark.parametrize(
    ("high", "scale"), [(0.9, 1), (1.3, 1), (90, 100), (250, 255), (4000, 4095), (16000, 10000), (60000, 65535)]
)
def test_the_full_scale_is_guessed_from_the_values(tmp_path, cube, high, scale):
    save_cube((cube * 0 + high).clip(0), tmp_path / "a.npy")
    assert f"dataset.folder.full_scale={scale}" in lines(tmp_path / "a.npy")["hints"]


def test_a_file_of_pixels_before_bands_is_suspected(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((40, 40, 6)))
    assert "if its axes are (y, x, band), store it as (band, y, x)" in lines(tmp_path / "a.npy")["hints"]


def test_a_tall_file_of_pixels_before_bands_is_suspected_too(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((50, 40, 6)))
    assert "if its axes are (y, x, band), store it as (band, y, x)" in lines(tmp_path / "a.npy")["hints"]


def test_a_number_of_bands_tells_their_axis(tmp_path, cube):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = cube.values.transpose(1, 0, 2)
    assert lines(tmp_path / "a.h5", bands=40)["shape"] == "40 bands, 6 rows, 30 columns"
    assert lines(tmp_path / "a.h5", bands=6)["shape"] == "6 bands, 40 rows, 30 columns"
