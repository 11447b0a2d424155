"""Read patches in random order from the shards.

Training reads every patch many times in random order. Patches are stored uncompressed, so a batch is one copy from the
page cache of the operating system, which all processes share and which shrinks when memory is short. Patches are not
cached here. A patch is checked when a process first reads it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from dask.system import CPU_COUNT
from numpy.typing import ArrayLike, NDArray

from hsipipe.artifacts.no_data import VALID
from hsipipe.errors import DataError
from hsipipe.storage.shards import RowReader, fits_rows
from hsipipe.storage.stores import get_array, open_store, read

# Flipping is slower than copying, but a few cores still saturate the memory bandwidth.
_THREADS = min(CPU_COUNT, 4)


class PatchArrays:
    """Arrays of a patch store (``<split>.zarr``), read by patch number.

    The store is opened on first access. Handles are not pickled, so each worker process opens the store itself.

    Args:
        path: Patch store.
        arrays: Names of the arrays that :meth:`read` returns; other arrays are not read. Where pixels were filled, it
            also returns ``valid``, which has 0 for them.
    """

    def __init__(self, path: Path, arrays: Sequence[str] = ("hr", "lr")) -> None:
        self.path = path
        self.arrays = tuple(arrays)
        self._group: zarr.Group | None = None
        self._wanted: tuple[str, ...] | None = None
        self._handles: dict[str, zarr.Array[Any]] = {}
        self._readers: dict[str, RowReader] = {}
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return int(self._array(self.arrays[0]).shape[0])

    def __getstate__(self) -> dict[str, Any]:
        closed: dict[str, Any] = {"_group": None, "_wanted": None, "_handles": {}, "_readers": {}, "_pool": None}
        return {"path": self.path, "arrays": self.arrays, **closed}

    @property
    def attrs(self) -> dict[str, Any]:
        """Return the attributes of the store, including dataset, scale, srf, response, wavelength_nm and scenes."""
        return dict(self._open().attrs)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all arrays of the store."""
        return tuple(sorted(self._open().array_keys()))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one patch of an array, (band, y, x)."""
        return tuple(self._array(name).shape[1:])

    def read(self, indices: ArrayLike, *, codes: ArrayLike | None = None) -> dict[str, NDArray[Any]]:
        """Read patches by number, in the given order: array name -> (B, band, y, x), contiguous.

        Args:
            indices: Patch numbers (B,).
            codes: Symmetry applied to all arrays of each patch (B,), see :func:`~hsipipe.patches.sampler.turn`;
                requires square patches. None: no symmetry.

        Raises:
            DataError: A number is out of range.
            IntegrityError: A file of the store is missing or damaged; the message names it.
        """
        wanted = np.asarray(indices, dtype=np.int64).ravel()
        turns = np.zeros_like(wanted) if codes is None else np.asarray(codes, dtype=np.int64).ravel()
        if len(turns) != len(wanted):
            raise DataError(f"Expected one code per patch, got {len(wanted)} patches and {len(turns)} codes.")
        count = len(self)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= count):
            raise DataError(f"{self.path} has patches 0 to {count - 1}, got {wanted.min()} to {wanted.max()}.")
        return {name: self._gather(name, wanted, turns) for name in self._names_to_read()}

    def _names_to_read(self) -> tuple[str, ...]:
        if self._wanted is None:
            has_mask = VALID in self._open() and VALID not in self.arrays
            self._wanted = (*self.arrays, VALID) if has_mask else self.arrays
        return self._wanted

    def _gather(self, name: str, wanted: NDArray[np.int64], turns: NDArray[np.int64]) -> NDArray[Any]:
        array = self._array(name)
        out = np.empty((len(wanted), *array.shape[1:]), dtype=array.dtype)
        if name not in self._readers:  # small arrays such as origin
            for position, number in enumerate(wanted.tolist()):
                out[position] = read(array, number)
            return out
        reader = self._readers[name]

        def fill(positions: NDArray[np.int64]) -> None:
            upright = np.empty(array.shape[1:], dtype=array.dtype)
            for position in positions.tolist():
                row = reader.row(int(wanted[position]))
                code = int(turns[position])
                if code:  # a transposed read of the mapped file would fault in one page per row
                    upright[...] = row
                    row = turn(upright, code)
                out[position] = row

        everything = np.arange(len(wanted))
        if not turns.any():  # one core saturates the memory bandwidth with plain copies
            fill(everything)
            return out
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="patches")
        list(self._pool.map(fill, np.array_split(everything, _THREADS)))
        return out

    def _array(self, name: str) -> zarr.Array[Any]:
        if name not in self._handles:
            array = get_array(self._open(), name)
            if fits_rows(array):
                self._readers[name] = RowReader(array)
            self._handles[name] = array
        return self._handles[name]

    def _open(self) -> zarr.Group:
        if self._group is None:
            self._group = open_store(self.path)
        return self._group


def turn(patch: NDArray[Any], code: int) -> NDArray[Any]:
    """A view of a patch (..., y, x) flipped and turned: bit 0 of the code transposes, 1 flips y, 2 flips x."""
    if code & 1:
        patch = patch.swapaxes(-1, -2)
    if code & 2:
        patch = patch[..., ::-1, :]
    if code & 4:
        patch = patch[..., ::-1]
    return patch
