"""Random reading of patches, straight from the shards.

Training reads every patch many times and in random order. Patches are stored uncompressed, so that a batch costs
one copy out of the operating system's page cache, which all processes share and which gives way when memory is
short; nothing is kept here, however large the store. A patch is checked when a process first reads it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from dask.system import CPU_COUNT
from numpy.typing import ArrayLike, NDArray

from hsipipe.errors import DataError
from hsipipe.storage.shards import RowReader, fits_rows
from hsipipe.storage.stores import get_array, open_store, read

# Turning is slower than copying, yet few cores exhaust the memory's bandwidth with it, too.
_THREADS = min(CPU_COUNT, 4)


class PatchArrays:
    """The arrays of a patch store (``<split>.zarr``), read by patch number.

    Opened at the first access and never pickled, so that a worker process opens its own.

    Args:
        path: The store.
        arrays: Which arrays :meth:`read` gives; those that are not needed cost nothing.
    """

    def __init__(self, path: Path, arrays: Sequence[str] = ("hr", "lr")) -> None:
        self.path = path
        self.arrays = tuple(arrays)
        self._group: zarr.Group | None = None
        self._handles: dict[str, zarr.Array[Any]] = {}
        self._readers: dict[str, RowReader] = {}
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return int(self._array(self.arrays[0]).shape[0])

    def __getstate__(self) -> dict[str, Any]:
        closed: dict[str, Any] = {"_group": None, "_handles": {}, "_readers": {}, "_pool": None}
        return {"path": self.path, "arrays": self.arrays, **closed}

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the store: dataset, scale, srf, response, wavelength_nm, scenes, among others."""
        return dict(self._open().attrs)

    @property
    def names(self) -> tuple[str, ...]:
        """Arrays that the store has, whether they are read or not."""
        return tuple(sorted(self._open().array_keys()))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one patch of an array, (band, y, x)."""
        return tuple(self._array(name).shape[1:])

    def read(self, indices: ArrayLike, *, codes: ArrayLike | None = None) -> dict[str, NDArray[Any]]:
        """Patches by number, in the order asked for: array name -> (B, band, y, x), contiguous.

        Args:
            indices: Patch numbers (B,).
            codes: By which symmetry each is turned (B,), all arrays of a patch alike; None: as they are. The patches
                are square then.

        Raises:
            DataError: A number is out of range.
            IntegrityError: A file of the store (named) is missing or damaged.
        """
        wanted = np.asarray(indices, dtype=np.int64).ravel()
        turns = np.zeros_like(wanted) if codes is None else np.asarray(codes, dtype=np.int64).ravel()
        if len(turns) != len(wanted):
            raise DataError(f"Each patch has a code, got {len(wanted)} patches and {len(turns)} codes.")
        count = len(self)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= count):
            raise DataError(f"{self.path} has patches 0 to {count - 1}, got {wanted.min()} to {wanted.max()}.")
        return {name: self._gather(name, wanted, turns) for name in self.arrays}

    def _gather(self, name: str, wanted: NDArray[np.int64], turns: NDArray[np.int64]) -> NDArray[Any]:
        array = self._array(name)
        out = np.empty((len(wanted), *array.shape[1:]), dtype=array.dtype)
        if name not in self._readers:  # the small arrays beside the patches
            for position, number in enumerate(wanted.tolist()):
                out[position] = read(array, number)
            return out
        reader = self._readers[name]

        def fill(positions: NDArray[np.int64]) -> None:
            upright = np.empty(array.shape[1:], dtype=array.dtype)
            for position in positions.tolist():
                row = reader.row(int(wanted[position]))
                code = int(turns[position])
                if code:  # straight from the file, the columns that a turn reads would be waited for one by one
                    upright[...] = row
                    row = turn(upright, code)
                out[position] = row

        everything = np.arange(len(wanted))
        if not turns.any():  # one core fills the memory's bandwidth with plain copies
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
