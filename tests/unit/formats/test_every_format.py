"""Contract of every file format in the catalogue.

A new format needs a writer in SAMPLES if it is only read, or if a cube is listed by another file than that it is saved
as. A format is expected to store wavelengths and the position unless it is listed as an exception.
"""

import os
import pickle
import shutil

import h5py
import numpy as np
import pytest
import scipy.io
import xarray as xr
from affine import Affine
from PIL import Image

from hsipipe.errors import FileFormatError, HsipipeError, MissingInputError
from hsipipe.formats import FORMATS, companions, is_cube, open_cube, recognise, save_cube, writer
from hsipipe.formats.georeference import attach

NM = np.arange(400.0, 701.0, 10)
TRANSFORM = Affine(4, 0, 500000, 0, -4, 4649000)
ATTRS = {"gsd_m": 4.0, "units": "1", "bad_bands": [2]}
WITHOUT_WAVELENGTHS = {"npy"}
WITHOUT_POSITION = {"npy", "npz", "hdf5", "matlab", "cave", "bands"}
SAVED = [(name, suffix) for name, form in FORMATS.items() for suffix in form.saved_as]
FILES = [(name, suffix) for name, form in FORMATS.items() if not form.is_folder for suffix in form.suffixes]
every_format = pytest.mark.parametrize("name", FORMATS)
every_saved = pytest.mark.parametrize(("name", "suffix"), SAVED)
every_file = pytest.mark.parametrize(("name", "suffix"), FILES)


def write_envi(folder, cube):
    header = (
        "ENVI\nsamples = 7\nlines = 6\nbands = 31\ndata type = 4\ninterleave = bsq\nbyte order = 0\n"
        f"wavelength units = nm\nwavelength = {{{', '.join(map(str, NM))}}}\n"
        "map info = {UTM, 1, 1, 500000, 4649000, 4, 4, 32, North, WGS-84, units=Meters}\n"
    )
    (folder / "a.hdr").write_text(header)
    (folder / "a.img").write_bytes(cube.values.astype("<f4").tobytes())
    return folder / "a.hdr"


def write_hdf5(folder, cube):
    with h5py.File(folder / "a.h5", "w") as file:
        file["cube"] = cube.values
        file["wavelength"] = NM
    return folder / "a.h5"


def write_matlab(folder, cube):
    scipy.io.savemat(folder / "a.mat", {"cube": cube.values.transpose(1, 2, 0), "wavelength": NM})
    return folder / "a.mat"


def write_npz(folder, cube):
    np.savez(folder / "a.npz", cube=cube.values, wavelength=NM)
    return folder / "a.npz"


def write_pngs(form):
    def write(folder, cube):
        (folder / "a_ms").mkdir()
        for number, (nm, band) in enumerate(zip(NM, cube.values, strict=True), start=1):
            pixels = np.round(band * 65535).astype(np.uint16)
            Image.fromarray(pixels).save(folder / "a_ms" / form.format(number=number, nm=nm))
        return folder / "a_ms"

    return write


SAMPLES = {
    "bands": write_pngs("a_{nm:.0f}nm.png"),
    "cave": write_pngs("a_ms_{number:02d}.png"),
    "envi": write_envi,
    "hdf5": write_hdf5,
    "matlab": write_matlab,
    "npz": write_npz,
}


@pytest.fixture(scope="module")
def cube():
    values = np.random.default_rng(0).integers(0, 65536, size=(31, 6, 7)) / 65535
    made = xr.DataArray(values.astype(np.float32), dims=("band", "y", "x"), attrs=ATTRS)
    return attach(made.assign_coords(wavelength_nm=("band", NM)), crs="EPSG:32632", transform=TRANSFORM)


@pytest.fixture(scope="module")
def samples(tmp_path_factory, cube):
    """Path of a sample of each format; not to be changed."""
    paths = {}
    for name, form in FORMATS.items():
        folder = tmp_path_factory.mktemp(name)
        if form.saved_as and name not in SAMPLES:
            paths[name] = folder / f"a{form.saved_as[0]}"
            save_cube(cube, paths[name])
        else:
            paths[name] = SAMPLES[name](folder, cube)
    return paths


@pytest.fixture
def copy(tmp_path, samples):
    """A function that copies a sample and gives the path of the copy."""

    def make(name):
        shutil.copytree(samples[name].parent, tmp_path / "copy")
        return tmp_path / "copy" / samples[name].name

    return make


def check_equal(found, cube, name):
    assert (found.dims, found.dtype, found.encoding["format"]) == (cube.dims, np.float32, FORMATS[name].title)
    np.testing.assert_array_equal(found, cube)
    assert ("wavelength_nm" in found.coords) == (name not in WITHOUT_WAVELENGTHS)
    if name not in WITHOUT_WAVELENGTHS:
        np.testing.assert_allclose(found["wavelength_nm"], NM)
    assert ("spatial_ref" in found.coords) == (name not in WITHOUT_POSITION)
    if name not in WITHOUT_POSITION:
        assert found.rio.crs.to_epsg() == 32632
        assert found["spatial_ref"].attrs["GeoTransform"] == cube["spatial_ref"].attrs["GeoTransform"]
        for dim in ("y", "x"):
            np.testing.assert_array_equal(found[dim], cube[dim])


@every_format
def test_a_sample_is_recognised_and_gives_the_cube(samples, cube, name):
    assert recognise(samples[name]) is FORMATS[name]
    assert is_cube(samples[name])
    check_equal(open_cube(str(samples[name])), cube, name)


@every_format
def test_an_opened_cube_can_be_sent_to_another_process(samples, cube, name):
    check_equal(pickle.loads(pickle.dumps(open_cube(samples[name]))), cube, name)


@every_format
def test_the_companions_are_the_cube(tmp_path, samples, cube, name):
    source = samples[name].parent
    for file in companions(samples[name]):
        target = tmp_path / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    check_equal(open_cube(tmp_path / samples[name].name), cube, name)
    assert len(companions(samples[name])) == sum(file.is_file() for file in source.rglob("*"))
    assert [path for path in source.iterdir() if is_cube(path)] == [samples[name]]


@every_file
def test_every_suffix_is_recognised_in_any_case(copy, cube, name, suffix):
    path = copy(name)
    for case in (suffix, suffix.upper()):
        path = path.rename(path.with_suffix(case))
        check_equal(open_cube(path), cube, name)


def files_of(path):
    """The names of a saved cube, sorted."""
    return [path.name, *(path.name + suffix for suffix in writer(path).beside)]


@every_saved
def test_saving_replaces_and_leaves_nothing_else(tmp_path, cube, name, suffix):
    path = tmp_path / f"a{suffix}"
    save_cube(cube * 0 + 0.5, path)
    for given in (cube, cube.chunk({"band": 2, "y": 3, "x": 5}), cube.transpose("y", "x", "band")):
        save_cube(given, str(path))
        found = open_cube(path)
        check_equal(found, cube, name)
        assert found.chunks is not None
        assert sorted(os.listdir(tmp_path)) == files_of(path)
    if name not in WITHOUT_POSITION:
        assert {key: np.atleast_1d(found.attrs[key]).tolist() for key in ATTRS} == {
            key: np.atleast_1d(value).tolist() for key, value in ATTRS.items()
        }
    save_cube(found * 2, path)  # a lazy cube over its own source
    np.testing.assert_array_equal(open_cube(path), cube * 2)


@every_saved
def test_a_cube_without_coordinates_is_saved_without_any(tmp_path, cube, name, suffix):
    bare = xr.DataArray(np.where(cube.values > 0.5, np.nan, cube.values), dims=cube.dims)
    save_cube(bare, tmp_path / f"a{suffix}")
    found = open_cube(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(found, bare)
    assert set(found.coords) == set()


@every_saved
def test_a_save_that_fails_leaves_the_old_file(tmp_path, cube, name, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    save_cube(cube, path)

    save = FORMATS[name].save

    def full_disk(cube, path):
        save(cube, path)
        raise OSError("No space left on device")

    monkeypatch.setattr(FORMATS[name], "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_cube(cube * 2, path)
    check_equal(open_cube(path), cube, name)
    assert sorted(os.listdir(tmp_path)) == files_of(path)


@every_format
def test_a_format_that_is_only_read_refuses_to_save(tmp_path, cube, name):
    for suffix in set(FORMATS[name].suffixes) - set(FORMATS[name].saved_as):
        with pytest.raises(FileFormatError, match=r"cannot be written as .*use \.bil, .*\.tiff, \.zarr"):
            save_cube(cube, tmp_path / f"a{suffix}")
    assert os.listdir(tmp_path) == []


def check_one_line(error, path):
    assert str(path) in str(error)
    assert "\n" not in str(error)


@every_file
def test_a_missing_file_is_a_one_line_error(tmp_path, name, suffix):
    with pytest.raises(MissingInputError, match="No file or folder at") as caught:
        open_cube(tmp_path / f"a{suffix}")
    check_one_line(caught.value, tmp_path / f"a{suffix}")


@every_file
@pytest.mark.parametrize("content", [b"", b"<html>404</html>" * 100])
def test_other_contents_are_a_one_line_error(tmp_path, name, suffix, content):
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        open_cube(tmp_path / f"a{suffix}")
    check_one_line(caught.value, tmp_path / f"a{suffix}")


@every_format
def test_a_truncated_file_is_a_one_line_error_or_complete(copy, cube, name):
    path = copy(name)
    file = max(companions(path), key=lambda file: file.stat().st_size)
    content = file.read_bytes()
    for size in {*range(0, len(content), max(len(content) // 25, 1)), len(content) - 30, len(content) - 1}:
        file.write_bytes(content[:size])
        try:
            found = open_cube(path)
            if FORMATS[name].is_folder:  # a file that opens must be complete; a store is checked chunk by chunk
                found.load()
        except HsipipeError as error:
            check_one_line(error, path)
        else:
            check_equal(found, cube, name)


@every_format
def test_a_variable_that_does_not_exist_is_a_one_line_error(samples, name):
    message = "no variable 'none'" if FORMATS[name].has_variables else "holds one cube and has no variables, got 'none'"
    with pytest.raises(FileFormatError, match=message) as caught:
        open_cube(samples[name], variable="none")
    check_one_line(caught.value, samples[name])
