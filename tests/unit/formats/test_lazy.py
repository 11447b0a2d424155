from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import FileFormatError
from hsipipe.formats.lazy import MappedSource, Source, blocks, count_blocks, open_lazily

VALUES = np.arange(4 * 5 * 6, dtype=np.int32).reshape(4, 5, 6)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("lazy") / "values.bin"
    path.write_bytes(b"head" + VALUES.tobytes())
    return MappedSource(path, VALUES.shape, VALUES.dtype, 4, VALUES.strides)


def indexes(n):
    return st.one_of(st.integers(-n, n - 1), st.slices(n))


@settings(deadline=None)
@given(index=st.tuples(indexes(4), indexes(5), indexes(6)))
def test_every_index_reads_what_numpy_would(source, index):
    np.testing.assert_array_equal(source[index], VALUES[index])
    np.testing.assert_array_equal(open_lazily(source, stored=(2, 2, 3))[index].compute(), VALUES[index])


def test_lists_and_masks_are_left_to_dask(source):
    lazy = open_lazily(source)
    np.testing.assert_array_equal(lazy[[3, 1]].compute(), VALUES[[3, 1]])
    np.testing.assert_array_equal(lazy[np.array([True, False, True, True])].compute(), VALUES[[0, 2, 3]])


def test_a_short_file_is_named_when_it_is_read(source, tmp_path):
    path = tmp_path / "short.bin"
    path.write_bytes(b"head" + VALUES.tobytes()[:-1])
    lazy = open_lazily(MappedSource(path, VALUES.shape, VALUES.dtype, 4, VALUES.strides))
    with pytest.raises(FileFormatError, match=r"short\.bin cannot be read, the file is damaged: "):
        lazy.compute()


@dataclass(frozen=True)
class _Counting(Source):
    reads: list

    def read(self, box):
        self.reads.append(box)
        return np.zeros([side.stop - side.start for side in box], np.float32)


@pytest.mark.parametrize("stored", [(1, 700, 800), (60, 64, 64), (60, 1, 800)])
def test_blocks_read_everything_once_in_pieces_of_bounded_size(tmp_path, stored):
    path = tmp_path / "a"
    path.write_bytes(b"")
    source = _Counting(path, (60, 700, 800), np.dtype(np.float32), [])
    cube = xr.DataArray(open_lazily(source, stored=stored), dims=("band", "y", "x"))
    source.reads.clear()
    sizes = [(bands.stop - bands.start) * values[0].size for bands, values in blocks(cube)]
    assert sum(sizes) == cube.size
    assert len(sizes) == len(source.reads) == count_blocks(cube)
    assert max(sizes) * 4 <= 8 << 20
    for box in source.reads:
        starts = [side.start % chunk for side, chunk in zip(box, stored, strict=True)]
        assert starts == [0, 0, 0]


def test_blocks_of_a_cube_in_memory_are_strips():
    cube = xr.DataArray(np.random.default_rng(0).random((60, 300, 300), dtype=np.float32), dims=("band", "y", "x"))
    pieces = list(blocks(cube))
    assert len(pieces) == count_blocks(cube) > 1
    np.testing.assert_array_equal(np.concatenate([values for _, values in pieces], axis=1), cube)
