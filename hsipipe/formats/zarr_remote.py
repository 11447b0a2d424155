"""Read Zarr stores over the network: the metadata once, into a folder, and the chunks one by one.

The metadata of all arrays must be in one file, consolidated: a web server does not list what it has.
"""

import asyncio
import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import MemoryStore

from hsipipe.errors import FileFormatError, MissingInputError, UnreachableError
from hsipipe.formats.lazy import Box, Source
from hsipipe.formats.zarr_chunks import METADATA, Chain, chain_of
from hsipipe.formats.zarr_safety import MOST_CHUNK_BYTES, MOST_METADATA_BYTES, MOST_NODES, check_decoded
from hsipipe.json_text import parse_json
from hsipipe.storage.ranges import read_range, read_suffix, read_whole
from hsipipe.storage.stores import EVERY_CHUNK
from hsipipe.storage.urls import Url

_PART = re.compile(r"[^/\\\0]{1,200}")
_REMEDY = "run zarr.consolidate_metadata(STORE) where it lies, or name one of its arrays"
_MOST_PARTS = 16


def fetch_metadata(url: Url, folder: Path) -> None:
    """Write the metadata files of a store into an empty folder, as they lie in the store.

    Raises:
        MissingInputError: There is no store, or it cannot be reached.
        FileFormatError: The metadata of its arrays are not consolidated, or are damaged.
    """
    if (root := _fetch(url, "zarr.json")) is not None:
        tree = _object(root, "zarr.json")
        _write(folder, "zarr.json", root)
        if tree.get("node_type") == "array":
            return
        inside = tree.get("consolidated_metadata")
        nodes = _nodes(inside.get("metadata") if isinstance(inside, dict) else None)
        for key, node in nodes.items():
            _write(folder, f"{key}/zarr.json", json.dumps(node).encode())
    elif (root := _fetch(url, ".zmetadata")) is not None:
        _write(folder, ".zmetadata", root)
        for key, node in _nodes(_object(root, ".zmetadata").get("metadata")).items():
            _write(folder, key, json.dumps(node).encode())
    elif (root := _fetch(url, ".zarray")) is not None:
        _write(folder, ".zarray", root)
        _write(folder, ".zattrs", _fetch(url, ".zattrs") or b"{}")
    elif _fetch(url, ".zgroup") is not None:
        raise FileFormatError(f"the metadata of its arrays are not consolidated; {_REMEDY}")
    else:
        raise MissingInputError(
            f"No Zarr store at {url}: it has neither zarr.json nor .zmetadata, .zarray or .zgroup. Of other formats "
            "GeoTIFF (.tif) is read over the network."
        )


def metadata_bytes(url: Url) -> bytes:
    """Return the metadata file at the top of a store; empty: there is none."""
    found = (_fetch(url, name) for name in ("zarr.json", ".zmetadata", ".zarray"))
    return next((text for text in found if text is not None), b"")


def remote_source(url: Url, folder: Path, name: str, array: zarr.Array[Any]) -> Source:
    """Return the values of an array of a store.

    Args:
        url: The store.
        folder: Its metadata, by :func:`fetch_metadata`.
        name: Name of the array; empty: it is the store.
        array: The array as opened from its metadata.
    """
    root = folder / "zarr.json"
    whole = _object(root.read_bytes(), "zarr.json").get("attributes") if root.is_file() else None
    key = "zarr.json" if array.metadata.zarr_format == 3 else ".zarray"
    text = (folder / name / key).read_text("utf-8")
    complete = isinstance(whole, dict) and bool(whole.get(EVERY_CHUNK))
    return _RemoteSource(url, array.shape, np.dtype(array.dtype), name, text, complete)


@dataclass(frozen=True)
class _RemoteSource(Source):
    """An array of a remote store.

    Attributes:
        path: The store.
        name: Name of the array.
        metadata: Text of its metadata file.
        is_complete: A missing chunk is an error, not a chunk of the fill value.
    """

    path: Url
    name: str
    metadata: str
    is_complete: bool

    def version(self) -> tuple[str, int]:
        """Return the digest of the metadata: chunks have no common version."""
        return sha256(self.metadata.encode()).hexdigest(), 0

    def read(self, box: Box) -> NDArray[Any]:
        """Read the box."""
        tree = parse_json(self.metadata)
        check_decoded(tree, self.name)
        store = _RemoteStore(self.path / self.name, self, chain_of(tree, self.dtype.itemsize))
        return np.asarray(zarr.open_array(store, mode="r")[box])


class _RemoteStore(MemoryStore):
    """Metadata of an array in memory, and its chunks on a server; each is bounded, and checked before it is decoded."""

    def __init__(self, url: Url, source: _RemoteSource, chain: Chain) -> None:
        key = "zarr.json" if "codecs" in parse_json(source.metadata) else ".zarray"
        buffer = default_buffer_prototype().buffer.from_bytes(source.metadata.encode())
        super().__init__({key: buffer}, read_only=True)
        self._url, self._chain, self._is_complete = url, chain, source.is_complete
        # Compression may add a little, never half.
        self._most = min(2 * chain.nbytes + (1 << 20), MOST_CHUNK_BYTES)

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Fetch a chunk, or a part of it; metadata come from memory."""
        if key.endswith(METADATA):
            return await super().get(key, prototype, byte_range)
        data = await asyncio.to_thread(self._fetch, self._url / key, byte_range)
        if data is None:
            if self._is_complete:
                raise FileFormatError(f"its chunk {key} is missing on the server, and would read as zeros")
            return None
        if byte_range is None:
            self._chain.check(memoryview(data))
        else:
            self._chain.check_part(memoryview(data), byte_range)
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    def _fetch(self, url: Url, part: ByteRequest | None) -> bytes | None:
        if part is None or isinstance(part, OffsetByteRequest):
            data = read_whole(url, most=self._most)
            return data if part is None or data is None else data[part.offset :]
        length = part.suffix if isinstance(part, SuffixByteRequest) else part.end - part.start
        if length > self._most:
            raise FileFormatError(f"its index claims a chunk of {length} bytes, expected at most {self._most}")
        try:
            if isinstance(part, RangeByteRequest):
                return read_range(url, part.start, part.end)
            return read_suffix(url, length)
        except UnreachableError:
            raise
        except MissingInputError:
            return None


def _fetch(url: Url, name: str) -> bytes | None:
    return read_whole(url / name, most=MOST_METADATA_BYTES)


def _object(text: bytes, name: str) -> dict[str, Any]:
    try:
        tree = parse_json(text)
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        raise FileFormatError(f"{name} is not a JSON object; the store is damaged")
    return tree


def _nodes(nodes: Any) -> dict[str, Any]:
    """Check the names of consolidated metadata, which become names of files.

    Raises:
        FileFormatError: There are no metadata, too many, or a name that leaves the store.
    """
    if not isinstance(nodes, dict):
        raise FileFormatError(f"the metadata of its arrays are not consolidated; {_REMEDY}")
    if len(nodes) > 3 * MOST_NODES:
        raise FileFormatError(f"it holds more than {MOST_NODES} groups and arrays; open one of its groups")
    for key in nodes:
        parts = key.split("/")
        if len(parts) > _MOST_PARTS or any(part in (".", "..") or not _PART.fullmatch(part) for part in parts):
            raise FileFormatError(f"it names the array {key[:80]!r}; the store is damaged")
    return nodes


def _write(folder: Path, key: str, text: bytes) -> None:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
