"""Windows of a cube have the values of the whole, also where they depend on all of it."""

import re

import dask.array as da
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hsipipe.inference.source
from hsipipe.errors import DataError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.base import make_cube
from hsipipe.formats.lazy import Source
from hsipipe.inference.holes import fill_holes
from hsipipe.inference.known import input_warnings, strip_warnings
from hsipipe.inference.plan import Box
from hsipipe.inference.source import SceneSource, survey
from hsipipe.inference.values import scaled
from hsipipe.methods.domain import Domain


def lazy(values):
    return make_cube(da.from_array(values, chunks=(-1, 3, -1)))


def surveyed(values):
    return survey(lazy(values), "scene", full_scale=1.0, example="--full-scale 10000")


@pytest.fixture
def short_strips(monkeypatch):
    """Strips of a few rows, as of a large scene."""
    monkeypatch.setattr(hsipipe.inference.source, "_STRIP_BYTES", 1)
    monkeypatch.setattr(hsipipe.inference.source, "_MOST_STRIP_BYTES", 2000)


@pytest.mark.usefixtures("short_strips")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 999), st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.data())
def test_a_window_is_filled_as_the_whole(seed, share, data):
    rng = np.random.default_rng(seed)
    values = rng.random((2, 17, 13), dtype=np.float32)
    values[seed % 2, rng.random((17, 13)) < share] = np.nan
    values[:, 16, 12] = 0.5
    filled, holes = fill_holes(values, "scene")
    source = surveyed(values)
    assert (source.holes is None) == (holes is None)
    y0, x0 = data.draw(st.integers(0, 16)), data.draw(st.integers(0, 12))
    box = Box(y0, data.draw(st.integers(y0 + 1, 17)), x0, data.draw(st.integers(x0 + 1, 13)))
    np.testing.assert_array_equal(source.read(box), filled[box.slices()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: v * 10000,
            r"^scene has values up to 9.*; set the value that maps to 1\.0, for example --full-scale",
        ),
        (lambda v: np.where(np.arange(4)[:, None, None] == 1, np.nan, v), r"^scene has no data in band 2"),
        (lambda v: np.full_like(v, np.nan), "no pixel with data in every band"),
    ],
)
def test_what_the_whole_is_refused_for_is_refused(change, message):
    values = np.random.default_rng(0).random((4, 20, 10), dtype=np.float32)
    with pytest.raises(DataError, match=message):
        surveyed(change(values).astype(np.float32))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_is_no_data_in_windows_and_in_the_whole(value):
    values = np.random.default_rng(0).random((4, 20, 10), dtype=np.float32)
    values[2, 5, 6] = value
    whole, holes = fill_holes(scaled(lazy(values), "scene", full_scale=1.0, example=""), "scene")
    source = surveyed(values)
    np.testing.assert_array_equal(source.holes.mask, holes)
    assert np.argwhere(holes).tolist() == [[5, 6]]
    np.testing.assert_array_equal(source.read(Box(0, 20, 0, 10)), whole)
    assert np.isfinite(whole).all()


@pytest.mark.usefixtures("short_strips")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 12), st.sampled_from([1e-4, 1.0, 3.0, -1.0]))
def test_warnings_of_strips_are_those_of_the_whole(seed, height, width, factor):
    rng = np.random.default_rng(seed)
    values = (rng.random((3, height, width), dtype=np.float32) ** 3 * factor).astype(np.float32)
    domain = Domain(None, 0.0, 1.0, 0.001, np.linalg.qr(rng.standard_normal((3, 2)))[0].T, 0.01)
    expected = input_warnings(domain, values)
    assert strip_warnings(domain, 3, surveyed(values).strips) == expected
    if factor == 3.0 and height > 2 and width > 2:
        assert expected


@pytest.mark.usefixtures("short_strips")
def test_the_noise_is_the_median_of_all_strips():
    noisy = np.random.default_rng(1).normal(0.5, 0.1, (3, 40, 12)).astype(np.float32)
    domain = Domain(None, -9.0, 9.0, 0.001, np.eye(3), 1.0)
    (told,) = strip_warnings(domain, 3, surveyed(noisy).strips)
    assert re.search(r"noisier than the training: 0\.11 against 0\.001", told)
    assert [told] == input_warnings(domain, noisy)


def envi(path, values, interleave):
    order = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[interleave]
    path.write_bytes(np.ascontiguousarray(values.transpose(order)).tobytes())
    bands, lines, samples = values.shape
    path.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {samples}\nlines = {lines}\nbands = {bands}\nheader offset = 0\nfile type = ENVI Standard\n"
        f"data type = 4\ninterleave = {interleave}\nbyte order = 0\n"
    )
    return path


def matlab(path, values):
    with h5py.File(path, "w", userblock_size=512) as file:
        stored = file.create_dataset("cube", data=values.transpose(0, 2, 1), chunks=(len(values), 16, 64))
        stored.attrs["MATLAB_class"] = np.bytes_("single")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(512))
    return path


@pytest.mark.parametrize("form", ["bsq.dat", "bil.dat", "bip.dat", "x.tif", "x.zarr", "x.nc", "x.mat", "x.npy"])
def test_a_window_of_a_file_does_not_read_all_of_it(tmp_path, monkeypatch, form):
    values = np.random.default_rng(0).random((5, 4000, 300), dtype=np.float32)
    path = tmp_path / form
    if path.suffix == ".dat":
        envi(path, values, path.stem)
    elif path.suffix == ".mat":
        matlab(path, values)
    else:
        save_cube(make_cube(values), path)
    seen, plain = [], Source.__getitem__

    def counted(source, index):
        found = plain(source, index)
        seen.append(found.nbytes)
        return found

    monkeypatch.setattr(Source, "__getitem__", counted)
    cube = open_cube(path, bands=5)
    opened, box = sum(seen), Box(2000, 2040, 0, 300)
    read = SceneSource(cube, 1.0).read(box)
    np.testing.assert_array_equal(read, values[box.slices()])
    assert opened < values.nbytes / 4
    assert 0 < sum(seen) - opened < values.nbytes / 2
