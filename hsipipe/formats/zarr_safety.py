"""Check the metadata of a Zarr store before Zarr opens it.

A store names the codecs that decode it, and the codec ``pickle`` runs code of the file; stored sizes may be false.
The metadata are therefore parsed as plain JSON and compared with lists of permitted types, codecs and sizes.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hsipipe.errors import FileFormatError

MOST_CHUNK_BYTES = 2 << 30
"""Largest chunk in bytes; a chunk is decoded whole, and this is also the limit of the compressors."""
MOST_VALUES = 1 << 44
"""Largest number of values of an array."""
MOST_METADATA_BYTES = 64 << 20
"""Largest metadata file in bytes."""
_MOST_TINY, _TINY_BYTES = 1 << 15, 4096
"""Most chunks that are smaller than this; each takes as long to read as a large one."""
MOST_NODES = 1024
"""Most arrays and groups of a store."""
_MOST_IN_SHARD = 1 << 24
_MOST_NESTED = 4
_FILES = ("zarr.json", ".zarray", ".zgroup", ".zmetadata")
# Codecs of numcodecs, which Zarr v3 writes with the prefix "numcodecs.".
_NUMCODECS = {
    "adler32", "astype", "bitround", "blosc", "bz2", "crc32", "crc32c", "delta", "fixedscaleoffset", "fletcher32",
    "gzip", "jenkins_lookup3", "lz4", "lzma", "packbits", "quantize", "shuffle", "zlib", "zstd",
}  # fmt: skip
_V3 = {"blosc", "bytes", "crc32c", "endian", "gzip", "sharding_indexed", "transpose", "zstd"}
_V3_TEXT = "vlen-utf8"
# Numbers, booleans, and text of fixed length such as band names.
_DTYPE = re.compile(r"[<>|]?([iufcb])(\d{1,2})|[<>|]?([SU])(\d{1,9})")
_V3_BYTES = {
    "bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
    "float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip
_V3_FIXED_TEXT = ("fixed_length_utf32", "null_terminated_bytes")


def check_store(path: Path) -> None:
    """Check the metadata of every node of a store.

    Args:
        path: Folder of the store.

    Raises:
        FileFormatError: An array has a type, codec or size that is not permitted; the message names it.
    """
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        # Zarr follows symbolic links, which may form a cycle.
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        if len(seen) > MOST_NODES:
            raise FileFormatError(f"it holds more than {MOST_NODES} groups and arrays; open one of its groups")
        if not check_node(folder, name=folder.relative_to(path).as_posix()):
            waiting += [entry for entry in folder.iterdir() if entry.is_dir()]


def check_node(folder: Path, *, name: str, is_read: bool = False) -> bool:
    """Check the metadata of one node, including its consolidated metadata of nodes below.

    Args:
        folder: Folder of the node.
        name: Name of the node in messages.
        is_read: Also check the size of the chunks, which are about to be read, each of them whole.

    Returns:
        True for an array, which has no nodes below it.

    Raises:
        FileFormatError: As :func:`check_store`.
    """
    is_array = False
    for file in _FILES:
        path = folder / file
        if not path.is_file():
            continue
        tree = _load(path, f"{name}/{file}")
        if not isinstance(tree, dict):
            raise FileFormatError(f"{name}/{file} is not a JSON object; the store is damaged")
        is_array = is_array or file == ".zarray" or tree.get("node_type") == "array"
        for place, array in _arrays(tree, name, file):
            if is_read:
                check_decoded(array, place)
            else:
                chunk_bytes(array, place)
    return is_array


def check_decoded(tree: dict[str, Any], name: str) -> None:
    """Check the metadata of an array whose chunks are about to be decoded.

    Raises:
        FileFormatError: As :func:`check_store`, or a chunk is too large.
    """
    size = chunk_bytes(tree, name)
    if size > MOST_CHUNK_BYTES:
        raise FileFormatError(
            f"the array {name!r} claims chunks of {size} bytes, expected at most {MOST_CHUNK_BYTES}; "
            "store it in smaller chunks"
        )


def _load(path: Path, name: str) -> Any:
    if path.stat().st_size > MOST_METADATA_BYTES:
        raise FileFormatError(
            f"{name} has {path.stat().st_size} bytes, expected at most {MOST_METADATA_BYTES} of metadata"
        )
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{name} is not JSON; the store is damaged") from error


def _arrays(tree: dict[str, Any], name: str, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterate over the arrays described in a metadata file: name in messages, metadata."""
    if file == ".zarray" or tree.get("node_type") == "array":
        yield name, tree
    # Zarr trusts consolidated metadata in place of the metadata of the nodes.
    below = tree.get("metadata") if file == ".zmetadata" else None
    consolidated = tree.get("consolidated_metadata")
    if isinstance(consolidated, dict):
        below = consolidated.get("metadata")
    for key, entry in below.items() if isinstance(below, dict) else ():
        if isinstance(entry, dict) and not str(key).endswith((".zattrs", ".zgroup")):
            is_v2 = str(key).endswith(".zarray")
            yield from _arrays(entry, f"{name}/{key}", ".zarray" if is_v2 else "zarr.json")


def chunk_bytes(tree: dict[str, Any], name: str) -> int:
    """Check the metadata of an array.

    Args:
        tree: Contents of its ``.zarray`` or ``zarr.json``.
        name: Name of the array in messages.

    Returns:
        The size in bytes of a chunk that is decoded whole.

    Raises:
        FileFormatError: As :func:`check_store`.
    """
    is_v3 = "data_type" in tree or "codecs" in tree
    size = _v3_size(tree, name) if is_v3 else _v2_size(tree.get("dtype"), name)
    shape = _sizes(tree.get("shape"), name)
    if math.prod(shape) > MOST_VALUES:
        raise FileFormatError(f"the array {name!r} claims {math.prod(shape)} values, expected at most {MOST_VALUES}")
    if not is_v3:
        _check_v2_codecs(tree, name)
        chunk = _sizes(tree.get("chunks"), name)
    else:
        grid = tree.get("chunk_grid")
        if not isinstance(grid, dict) or grid.get("name") != "regular":
            raise FileFormatError(f"the array {name!r} does not have a regular chunk grid")
        chunk = _check_v3_codecs(tree.get("codecs"), _chunk_shape(grid, name), name)
    size *= math.prod(chunk)
    count = math.prod(-(-n // part) for n, part in zip(shape, chunk, strict=False) if part)
    if count > _MOST_TINY and size < _TINY_BYTES:
        raise FileFormatError(
            f"the array {name!r} has {count} chunks of {size} bytes, which takes hours to read; "
            "store it in larger chunks"
        )
    return size


def _v2_size(dtype: Any, name: str) -> int:
    """Return the bytes of one value."""
    match = _DTYPE.fullmatch(dtype) if isinstance(dtype, str) else None
    if match is None:
        raise FileFormatError(
            f"the array {name!r} has the type {_short(dtype)}, which is refused because reading it could run code; "
            "store numbers"
        )
    return int(match[2] or match[4]) * (4 if match[3] == "U" else 1)


def _v3_size(tree: dict[str, Any], name: str) -> int:
    kind = tree.get("data_type")
    if isinstance(kind, str) and kind in _V3_BYTES:
        return _V3_BYTES[kind]
    if kind == "string":
        return 1
    if isinstance(kind, dict) and kind.get("name") in _V3_FIXED_TEXT:
        length = (kind.get("configuration") or {}).get("length_bytes")
        if isinstance(length, int) and length >= 0:
            return length
    raise FileFormatError(f"the array {name!r} has the type {_short(kind)}, which is refused; store numbers")


def _check_v2_codecs(tree: dict[str, Any], name: str) -> None:
    filters = tree.get("filters")
    if filters is not None and not isinstance(filters, list):
        raise FileFormatError(f"the array {name!r} has filters of {type(filters).__name__}, expected a list")
    for codec in [*(filters or []), tree.get("compressor")]:
        if codec is not None:
            entry = codec if isinstance(codec, dict) else {}
            _check_codec(entry.get("id"), entry, name, allowed=_NUMCODECS)


def _check_v3_codecs(codecs: Any, chunk: tuple[int, ...], name: str, depth: int = 0) -> tuple[int, ...]:
    """Check a chain of codecs and return the shape of the chunk that is decoded whole."""
    if not isinstance(codecs, list) or depth > _MOST_NESTED:
        raise FileFormatError(f"the array {name!r} does not have a list of codecs, or they are nested too deep")
    allowed = {*_V3, *(f"numcodecs.{codec}" for codec in _NUMCODECS), _V3_TEXT}
    for codec in codecs:
        entry = codec if isinstance(codec, dict) else {"name": codec}
        given = entry.get("configuration") or {}
        _check_codec(entry.get("name"), given, name, allowed=allowed)
        if entry["name"] == "sharding_indexed":
            inner = _chunk_shape({"configuration": given}, name)
            if math.prod(chunk) > _MOST_IN_SHARD * max(1, math.prod(inner)):
                raise FileFormatError(
                    f"the array {name!r} claims more than the limit of {_MOST_IN_SHARD} chunks in a shard"
                )
            _check_v3_codecs(given.get("index_codecs", []), inner, name, depth + 1)
            chunk = _check_v3_codecs(given.get("codecs"), inner, name, depth + 1)
    return chunk


def _check_codec(codec: Any, given: Any, name: str, *, allowed: set[str]) -> None:
    if not isinstance(codec, str) or codec not in allowed:
        why = ", which would run code of the file when it is read" if codec == "pickle" else ""
        raise FileFormatError(
            f"the array {name!r} names the codec {_short(codec)}{why}; such stores are refused, store it with one of "
            f"{', '.join(sorted(_V3 & _NUMCODECS))}"
        )
    for key in ("dtype", "astype", "encode_dtype", "decode_dtype") if isinstance(given, dict) else ():
        if key in given:
            _v2_size(given[key], name)


def _chunk_shape(grid: dict[str, Any], name: str) -> tuple[int, ...]:
    given = grid.get("configuration")
    return _sizes(given.get("chunk_shape") if isinstance(given, dict) else None, name)


def _sizes(given: Any, name: str) -> tuple[int, ...]:
    if isinstance(given, Sequence) and not isinstance(given, str):
        sizes = tuple(given)
        if all(isinstance(size, int) and size >= 0 for size in sizes) and len(sizes) <= 32:
            return sizes
    raise FileFormatError(f"the array {name!r} does not have a valid shape or chunks, got {_short(given)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
