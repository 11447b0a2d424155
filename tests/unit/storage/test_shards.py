"""Damage of every kind to shards, compressed and not, through Zarr and past it."""

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsipipe.errors import AlreadyRunningError, DataError, IntegrityError
from hsipipe.storage.manifest import verify, write_manifest
from hsipipe.storage.shards import RowReader, fits_rows, write_rows
from hsipipe.storage.stores import ArraySpec, create_store, get_array, open_store, read

ROWS, SHARD = 7, 3
VALUES = np.random.default_rng(0).random((ROWS, 2, 4, 5), dtype=np.float32)


def create(path, *, compressed=False, shard=SHARD):
    shape = VALUES.shape
    spec = ArraySpec(
        shape, ("patch", "band", "y", "x"), (1, *shape[1:]), shards=(shard, *shape[1:]), compressed=compressed
    )
    return get_array(create_store(path, {"a": spec}, attrs={}), "a")


def write(path, *, compressed=False, shard=SHARD):
    array = create(path, compressed=compressed, shard=shard)
    for start in range(0, ROWS, shard):
        array[start : start + shard] = VALUES[start : start + shard]
    return path


def opened(path):
    return get_array(open_store(path), "a")


def rows(path):
    """All rows, read past Zarr."""
    reader = RowReader(opened(path))
    return np.stack([reader.row(number) for number in range(ROWS)])


def file_of(path, shard):
    return path / "a" / "c" / str(shard) / "0" / "0" / "0"


def attempt(reading):
    """What it gives, or None and the error's message."""
    try:
        return reading(), ""
    except IntegrityError as error:
        return None, str(error)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    found = {name: write(folder / f"{name}.zarr", compressed=name == "compressed") for name in ("plain", "compressed")}
    write_manifest(folder)
    return found


READINGS = {
    "rows": (rows, "plain"),
    "zarr": (lambda p: read(opened(p)), "plain"),
    "zstd": (lambda p: read(opened(p)), "compressed"),
}


@pytest.mark.parametrize("shard", [1, 2, 3, ROWS])
def test_rows_are_what_zarr_reads(tmp_path, shard):
    path = write(tmp_path / "s.zarr", shard=shard)
    np.testing.assert_array_equal(read(opened(path)), VALUES)
    np.testing.assert_array_equal(rows(path), VALUES)


@pytest.mark.parametrize("how", READINGS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_an_error_that_names_the_file_or_harmless(stores, how, data):
    reading, name = READINGS[how]
    file = file_of(stores[name], data.draw(st.integers(0, 2)))
    good = file.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    file.write_bytes(bad)
    try:
        with pytest.raises(IntegrityError, match=r"has sha256") as caught:
            verify(stores[name].parent)
        assert str(file) in str(caught.value)
        values, message = attempt(lambda: reading(stores[name]))
        if values is None:
            assert str(file) in message
        else:  # a bit that carries nothing, such as a reserved one in the header of a Zstandard frame
            assert name == "compressed"
            np.testing.assert_array_equal(values, VALUES)
    finally:
        file.write_bytes(good)


@pytest.mark.parametrize("how", READINGS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_is_named(stores, how, share):
    reading, name = READINGS[how]
    file = file_of(stores[name], 1)
    good = file.read_bytes()
    file.write_bytes(good[: int(share * len(good))])
    try:
        with pytest.raises(IntegrityError) as caught:
            reading(stores[name])
        assert str(file) in str(caught.value)
    finally:
        file.write_bytes(good)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_shard_that_vanishes_after_opening_is_named(tmp_path, compressed):
    path = write(tmp_path / "s.zarr", compressed=compressed)
    array = opened(path)
    reader = RowReader(array)
    if not compressed:
        reader.row(4)
    file_of(path, 1).unlink()
    np.testing.assert_array_equal(read(array, slice(0, SHARD)), VALUES[:SHARD])
    for selection in (4, slice(2, 5), (slice(None), 0), ...):
        with pytest.raises(IntegrityError, match="a/c/1/0/0/0 is missing and would be read as zeros"):
            read(array, selection)
    if not compressed:
        with pytest.raises(IntegrityError, match="a/c/1/0/0/0 is missing"):
            reader.row(4)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_row_that_was_never_written_is_no_row_of_zeros(tmp_path, compressed):
    path = write(tmp_path / "s.zarr", compressed=compressed)
    file_of(path, 1).unlink()
    array = get_array(zarr.open_group(path, mode="r+"), "a")
    array[SHARD] = VALUES[SHARD]  # alone in its shard
    reader = RowReader(array)
    with pytest.raises(IntegrityError, match="a/c/1/0/0/0: a chunk was never written"):
        read(array, SHARD + 1)
    if not compressed:
        with pytest.raises(IntegrityError, match="a/c/1/0/0/0: a chunk was never written"):
            reader.row(SHARD + 1)


def test_what_cannot_be_opened_is_named(tmp_path):
    path = write(tmp_path / "s.zarr")
    array = opened(path)
    file_of(path, 0).unlink()
    file_of(path, 0).mkdir()
    with pytest.raises(IntegrityError, match=r"a/c/0/0/0/0 cannot be read \(Is a directory\)"):
        RowReader(array).row(0)


def test_only_plain_rows_in_shards_are_read_past_zarr(tmp_path):
    assert fits_rows(opened(write(tmp_path / "plain.zarr")))
    assert not fits_rows(opened(write(tmp_path / "compressed.zarr", compressed=True)))
    specs = {
        "unsharded": ArraySpec((4, 3), ("a", "b"), (1, 3), compressed=False),
        "parts_of_rows": ArraySpec((4, 4), ("a", "b"), (1, 2), shards=(2, 4), compressed=False),
        "two_shards_a_row": ArraySpec((4, 4), ("a", "b"), (1, 2), shards=(2, 2), compressed=False),
        "rows": ArraySpec((4, 4), ("a", "b"), (1, 4), shards=(2, 4), dtype="int16", compressed=False),
    }
    group = create_store(tmp_path / "s.zarr", specs, attrs={})
    assert [name for name in specs if fits_rows(get_array(group, name))] == ["rows"]


def test_a_file_that_changes_between_two_readings_is_checked_again(tmp_path):
    path = write(tmp_path / "s.zarr")
    reader, file = RowReader(opened(path)), file_of(path, 1)
    for number in range(SHARD, 2 * SHARD):
        np.testing.assert_array_equal(reader.row(number), VALUES[number])
    good = file.read_bytes()
    for position in (10, 200, 400):
        with file.open("r+b") as stream:
            stream.seek(position)
            stream.write(bytes([good[position] ^ 1]))
        with pytest.raises(IntegrityError, match=r"a/c/1/0/0/0: entry \d of /a fails its checksum"):
            [reader.row(number) for number in range(SHARD, 2 * SHARD)]
        file.write_bytes(good)
    np.testing.assert_array_equal(reader.row(SHARD), VALUES[SHARD])


def test_a_row_is_a_view_that_nobody_can_write_to(tmp_path):
    row = RowReader(opened(write(tmp_path / "s.zarr"))).row(0)
    with pytest.raises(ValueError, match="read-only"):
        row[...] = 0


def test_more_shards_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.storage.shards._OPEN_FILES", 2)
    reader = RowReader(opened(write(tmp_path / "s.zarr", shard=1)))
    for number in (*range(ROWS), *range(ROWS)):
        np.testing.assert_array_equal(reader.row(number), VALUES[number])
    assert len(reader._shards) == 2


@pytest.mark.parametrize("shard", [1, 3, ROWS])
def test_rows_written_one_by_one_give_the_files_that_zarr_writes(tmp_path, shard):
    theirs, ours = write(tmp_path / "theirs.zarr", shard=shard), tmp_path / "ours.zarr"
    array = create(ours, shard=shard)
    for number, start in enumerate(range(0, ROWS, shard)):
        write_rows(array, number, iter(VALUES[start : start + shard]))
    files = [sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file()) for path in (theirs, ours)]
    assert files[0] == files[1]
    assert all((theirs / file).read_bytes() == (ours / file).read_bytes() for file in files[0])


def test_a_shard_has_one_writer(tmp_path):
    array = create(tmp_path / "s.zarr")
    write_rows(array, 0, VALUES[:SHARD])
    with pytest.raises(AlreadyRunningError, match="a/c/0/0/0/0 exists; a shard has one writer"):
        write_rows(array, 0, np.zeros_like(VALUES[:SHARD]))
    np.testing.assert_array_equal(RowReader(array).row(2), VALUES[2])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (VALUES[:2], "takes 3 rows, got 2"),
        (VALUES[:4], r"takes 3 rows of \(2, 4, 5\), got one more"),
        (VALUES[:3, :1], r"takes 3 rows of \(2, 4, 5\), got one more of \(1, 4, 5\)"),
    ],
)
def test_rows_that_do_not_fit_the_shard(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        write_rows(create(tmp_path / "s.zarr"), 1, rows)


def test_only_plain_rows_are_written_past_zarr(tmp_path):
    with pytest.raises(DataError, match="is not stored row by row"):
        write_rows(create(tmp_path / "s.zarr", compressed=True), 0, VALUES[:SHARD])
