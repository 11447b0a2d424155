"""Random reading of patches.

A sharded store read patch by patch costs one seek and one decompression each; training reads every patch
many times. So whole shards are decoded once and kept as long as memory allows.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray

from hsipipe.errors import DataError
from hsipipe.storage.stores import get_array, open_store, read

CACHE_BYTES = 1 << 30


class PatchArrays:
    """The arrays of a patch store (``<split>.zarr``), read by patch number.

    Opened at the first access and never pickled, so that a worker process opens its own.

    Args:
        path: The store.
        arrays: Which arrays :meth:`read` gives; those that are not needed cost nothing.
        cache_bytes: Decoded shards that are kept. When the store does not fit, patches are read one by one.
    """

    def __init__(
        self, path: Path, arrays: Sequence[str] = ("hr", "lr", "msi"), *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.path = path
        self.arrays = tuple(arrays)
        self.cache_bytes = cache_bytes
        self._group: zarr.Group | None = None
        self._handles: dict[str, zarr.Array[Any]] = {}
        self._shards: OrderedDict[tuple[str, int], NDArray[Any]] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        return int(self._array(self.arrays[0]).shape[0])

    def __getstate__(self) -> dict[str, Any]:
        kept = {"path": self.path, "arrays": self.arrays, "cache_bytes": self.cache_bytes}
        return kept | {"_group": None, "_handles": {}, "_shards": OrderedDict(), "_held": 0}

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the store: dataset, scale, srf, wavelength_nm, scenes."""
        return dict(self._open().attrs)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one patch of an array, (band, y, x)."""
        return tuple(self._array(name).shape[1:])

    def read(self, indices: ArrayLike) -> dict[str, NDArray[Any]]:
        """Patches by number, in the order asked for: array name -> (B, band, y, x).

        Raises:
            DataError: A number is out of range.
            IntegrityError: The store is damaged.
        """
        wanted = np.asarray(indices, dtype=np.int64).ravel()
        count = len(self)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= count):
            raise DataError(f"{self.path} has patches 0 to {count - 1}, got {wanted.min()} to {wanted.max()}.")
        return {name: self._gather(name, wanted) for name in self.arrays}

    def _gather(self, name: str, wanted: NDArray[np.int64]) -> NDArray[Any]:
        array = self._array(name)
        out = np.empty((len(wanted), *array.shape[1:]), dtype=array.dtype)
        if self._decoded_bytes() > self.cache_bytes:
            for position, number in enumerate(wanted.tolist()):
                out[position] = read(array, number)
            return out
        step = self._step(array)
        for shard in np.unique(wanted // step).tolist():
            inside = wanted // step == shard
            out[inside] = self._shard(name, shard, step)[wanted[inside] - shard * step]
        return out

    def _shard(self, name: str, shard: int, step: int) -> NDArray[Any]:
        key = (name, shard)
        if key in self._shards:
            self._shards.move_to_end(key)
            return self._shards[key]
        values = read(self._array(name), slice(shard * step, (shard + 1) * step))
        self._shards[key] = values
        self._held += values.nbytes
        while self._held > self.cache_bytes and len(self._shards) > 1:
            self._held -= self._shards.popitem(last=False)[1].nbytes
        return values

    def _decoded_bytes(self) -> int:
        return sum(self._array(name).nbytes for name in self.arrays)

    @staticmethod
    def _step(array: zarr.Array[Any]) -> int:
        return int((array.shards or array.chunks)[0])

    def _array(self, name: str) -> zarr.Array[Any]:
        if name not in self._handles:
            self._handles[name] = get_array(self._open(), name)
        return self._handles[name]

    def _open(self) -> zarr.Group:
        if self._group is None:
            self._group = open_store(self.path)
        return self._group
