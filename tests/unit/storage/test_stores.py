import numpy as np
import pytest
import xarray as xr

from hsipipe.errors import AlreadyRunningError, IntegrityError, MissingInputError
from hsipipe.storage.parallel import run_all
from hsipipe.storage.stores import ArraySpec, create_store, get_array, open_store, read, rows_per_chunk, write_small


def _write(path, values, *, shards=None):
    spec = ArraySpec(
        values.shape,
        ("patch", "y", "x"),
        (1, *values.shape[1:]),
        shards=shards,
        attrs={"units": "1"},
    )
    group = create_store(path, {"a": spec}, attrs={"scale": 4})
    array = get_array(group, "a")
    step = shards[0] if shards else 1
    for start in range(0, len(values), step):
        array[start : start + step] = values[start : start + step]
    write_small(group, "wavelength_nm", np.array([400.0, 410.0]), dim="band", units="nm")
    return path


@pytest.fixture
def values():
    return np.random.default_rng(0).random((5, 6, 7), dtype=np.float32)


@pytest.mark.parametrize("shards", [None, (2, 6, 7), (5, 6, 7)])
def test_round_trip(tmp_path, values, shards):
    group = open_store(_write(tmp_path / "s.zarr", values, shards=shards))
    np.testing.assert_array_equal(read(get_array(group, "a")), values)
    np.testing.assert_array_equal(read(get_array(group, "a"), slice(1, 3)), values[1:3])
    assert group.attrs["scale"] == 4


def test_xarray_sees_dims_and_units(tmp_path, values):
    dataset = xr.open_zarr(_write(tmp_path / "s.zarr", values), consolidated=False)
    assert dataset["a"].dims == ("patch", "y", "x")
    assert dataset["a"].attrs["units"] == "1"
    assert dataset["wavelength_nm"].attrs["units"] == "nm"


def test_same_content_same_bytes(tmp_path, values):
    folders = [_write(tmp_path / name / "s.zarr", values, shards=(2, 6, 7)) for name in "ab"]
    files = [
        {f.relative_to(folder): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()} for folder in folders
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("shards", [None, (2, 6, 7)])
def test_zeros_are_written_and_a_missing_file_is_named(tmp_path, shards):
    path = _write(tmp_path / "s.zarr", np.zeros((4, 6, 7), dtype=np.float32), shards=shards)
    open_store(path)
    (path / "a" / "c" / "1" / "0" / "0").unlink()
    with pytest.raises(IntegrityError, match="a/c/1/0/0 is missing"):
        open_store(path)


@pytest.mark.parametrize("shards", [None, (5, 6, 7)])
def test_no_flipped_byte_gives_wrong_data_and_the_file_is_named(tmp_path, values, shards):
    path = _write(tmp_path / "s.zarr", values, shards=shards)
    file = path / "a" / "c" / "0" / "0" / "0"
    good = file.read_bytes()
    for position in range(0, len(good), 7):
        bad = bytearray(good)
        bad[position] ^= 16
        file.write_bytes(bad)
        try:
            got, message = read(get_array(open_store(path), "a")), ""
        except IntegrityError as error:
            got, message = values, str(error)
        # no error: a byte that carries nothing, such as a flag of the frame that is not used
        np.testing.assert_array_equal(got, values)
        assert not message or str(file) in message


@pytest.mark.parametrize(("shards", "file"), [((5, 6, 7), "0/0/0"), (None, "3/0/0")])
def test_a_truncated_file_is_named(tmp_path, values, shards, file):
    path = _write(tmp_path / "s.zarr", values, shards=shards)
    file = path / "a" / "c" / file
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(IntegrityError) as caught:
        read(get_array(open_store(path), "a"))
    assert str(file) in str(caught.value)


def test_a_chunk_that_vanishes_after_opening_is_named_and_no_zeros(tmp_path, values):
    path = _write(tmp_path / "s.zarr", values)
    array = get_array(open_store(path), "a")
    (path / "a" / "c" / "3" / "0" / "0").unlink()
    np.testing.assert_array_equal(read(array, slice(0, 3)), values[:3])
    np.testing.assert_array_equal(read(array, (-1, slice(1, 3))), values[-1, 1:3])
    for selection in (3, -2, (..., 0), (slice(2, 4), slice(None), 2)):
        with pytest.raises(IntegrityError, match="a/c/3/0/0 is missing"):
            read(array, selection)


def test_a_store_has_one_writer(tmp_path, values):
    path = _write(tmp_path / "s.zarr", values)
    with pytest.raises(AlreadyRunningError, match=r"s\.zarr exists: .*remove the folder or write elsewhere"):
        _write(path, np.zeros_like(values))
    np.testing.assert_array_equal(read(get_array(open_store(path), "a")), values)
    (tmp_path / "file").touch()
    with pytest.raises(AlreadyRunningError, match="file exists: "):
        create_store(tmp_path / "file", {}, attrs={})
    (tmp_path / "empty").mkdir()
    create_store(tmp_path / "empty", {}, attrs={})


def test_no_store_and_no_array(tmp_path, values):
    with pytest.raises(MissingInputError, match="No store"):
        open_store(tmp_path / "none.zarr")
    group = open_store(_write(tmp_path / "s.zarr", values))
    with pytest.raises(IntegrityError, match="no array 'b', only a, wavelength_nm"):
        get_array(group, "b")


def test_damaged_metadata(tmp_path, values):
    path = _write(tmp_path / "s.zarr", values)
    (path / "a" / "zarr.json").write_text("{")
    with pytest.raises(IntegrityError, match="damaged"):
        open_store(path)


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((31, 512, 512), {}, 66),
        ((31, 512, 512), {"multiple": 4}, 64),
        ((31, 10, 12), {"multiple": 4}, 12),
        ((128, 2500, 2335), {"multiple": 4, "least": 64}, 64),
    ],
)
def test_rows_of_a_chunk(shape, options, expected):
    assert rows_per_chunk(shape, **options) == expected


def test_run_all_raises_the_error_of_a_piece():
    done = []

    def fail():
        raise ValueError("this one")

    run_all([lambda: done.append(1)])
    assert done == [1]
    with pytest.raises(ValueError, match="this one"):
        run_all([fail])
