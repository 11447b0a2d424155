"""Write the shards of a Zarr array that :mod:`hsipipe.formats.zarr_store` creates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import ShardingCodec

from hsipipe.storage.shards import write_shard


class ShardedArray:
    """An array whose whole shards are written without Zarr, with the same contents in less than half of the CPU time.

    Args:
        array: The array.
        codecs: Blosc and a checksum, with which whole shards are written; an array with other codecs is left to Zarr.
    """

    def __init__(self, array: zarr.Array[Any], *, codecs: Sequence[BytesBytesCodec]) -> None:
        self._array = array
        sharding = array.metadata.codecs[0] if array.metadata.zarr_format == 3 else None
        inner = sharding.codecs[1:] if isinstance(sharding, ShardingCodec) else ()
        self._is_ours = [codec.to_dict() for codec in inner] == [codec.to_dict() for codec in codecs]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._array, name)

    def __getitem__(self, index: Any) -> Any:
        return self._array[index]

    def __setitem__(self, index: tuple[slice, ...], values: NDArray[Any]) -> None:
        position = self._shard_at(index) if self._is_ours else None
        if position is None:
            self._array[index] = values
        else:
            write_shard(self._array, position, values, encode=_encode)

    def _shard_at(self, index: tuple[slice, ...]) -> tuple[int, ...] | None:
        """Return the position of the shard that an index covers; None: it covers another part."""
        spans = [part.indices(n)[:2] for part, n in zip(index, self._array.shape, strict=True)]
        shards = self._array.shards or self._array.chunks
        position = tuple(start // shard for (start, _), shard in zip(spans, shards, strict=True))
        whole = [
            (place * shard, min((place + 1) * shard, n))
            for place, shard, n in zip(position, shards, self._array.shape, strict=True)
        ]
        return position if spans == whole else None


def _encode(chunk: NDArray[Any]) -> bytes:
    return bytes(Blosc(cname="lz4", clevel=1, shuffle=Blosc.SHUFFLE).encode(np.ascontiguousarray(chunk)))
