"""Check that the chunks of an untrusted Zarr store unpack to the sizes in its metadata.

Decoders trust a compressed chunk: a few hundred bytes can unpack to gigabytes before the result is compared with the
shape of the chunk. Here the size is read from the header of the compressed data, or counted by unpacking in steps.
Only the common compressors are accepted.
"""

import gzip
import json
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

from hsipipe.errors import FileFormatError
from hsipipe.formats.zarr_safety import chunk_bytes

_SLACK = 1024
_STEP = 1 << 20
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
_ZSTD = b"\x28\xb5\x2f\xfd"
_PLAIN = {"bytes", "endian", "crc32c", "transpose", "vlen-utf8"}
_COMPRESSORS = ("blosc", "gzip", "zlib", "zstd")


def forget_consolidated(store: Path) -> None:
    """Remove consolidated metadata, which may contradict those of the nodes; the store is changed in place."""
    (store / ".zmetadata").unlink(missing_ok=True)
    path = store / "zarr.json"
    if path.is_file():
        try:
            tree = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise FileFormatError("zarr.json is not JSON; the store is damaged") from error
        if isinstance(tree, dict) and tree.pop("consolidated_metadata", None) is not None:
            path.write_text(json.dumps(tree), encoding="utf-8")


def check_chunks(store: Path, *, most_bytes: int) -> None:
    """Check every chunk of a store that passed :func:`~hsipipe.formats.zarr_safety.check_store`.

    Args:
        store: Folder of the store, without consolidated metadata.
        most_bytes: Largest unpacked chunk in bytes.

    Raises:
        FileFormatError: A chunk unpacks to more bytes than its array states, or the array does not use one of the
            accepted compressors.
    """
    for path in sorted(store.rglob("*")):
        if path.name not in (".zarray", "zarr.json") or not path.is_file():
            continue
        tree = json.loads(path.read_bytes())
        if path.name == ".zarray" or tree.get("node_type") == "array":
            name = path.parent.relative_to(store).as_posix()
            limit = chunk_bytes(tree, name)
            if limit > most_bytes:
                raise FileFormatError(
                    f"the array {name!r} claims chunks of {limit} bytes, expected at most {most_bytes}"
                )
            _check_files(path.parent, name, _compressor(tree, name), limit + _SLACK)


def _compressor(tree: dict[str, Any], name: str) -> str | None:
    """Return the compressor of an array, or None."""
    if "codecs" in tree:
        given = [str(codec.get("name") if isinstance(codec, dict) else codec) for codec in tree["codecs"]]
        names = [codec.removeprefix("numcodecs.") for codec in given if codec not in _PLAIN]
        if names and given[-1] != "crc32c" and given[-1].removeprefix("numcodecs.") != names[0]:
            names = given  # a codec around a compressor hides its header
    else:
        codecs = [*(tree.get("filters") or []), tree.get("compressor")]
        names = [str(codec["id"]) for codec in codecs if codec is not None and codec["id"] != "shuffle"]
    if len(names) > 1 or not set(names) <= set(_COMPRESSORS):
        raise FileFormatError(
            f"the array {name!r} is compressed by {', '.join(names)}; store it with one of {', '.join(_COMPRESSORS)} "
            "and without shards"
        )
    return names[0] if names else None


def _check_files(folder: Path, name: str, compressor: str | None, limit: int) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in _METADATA:
            content = path.read_bytes()
            size = len(content) if compressor is None else _SIZES[compressor](content, limit)
            if size is None or size > limit:
                raise FileFormatError(
                    f"a chunk of the array {name!r} unpacks to more than its {limit - _SLACK} bytes, or does not state "
                    "its size"
                )


def _of_blosc(content: bytes, limit: int) -> int | None:
    return (
        int(struct.unpack("<I", content[4:8])[0]) if len(content) >= 16 else 0
    )  # a shorter chunk fails in the decoder


def _of_zstd(content: bytes, limit: int) -> int | None:
    """Parse the content size in the frame header (RFC 8878, section 3.1.1.1)."""
    if not content.startswith(_ZSTD) or len(content) < 6:
        return None
    descriptor = content[4]
    flag, single = descriptor >> 6, descriptor >> 5 & 1
    start = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    length = (single, 2, 4, 8)[flag]
    if not length:
        return None
    size = int.from_bytes(content[start : start + length], "little")
    return size + 256 if flag == 1 else size


def _of_gzip(content: bytes, limit: int) -> int | None:
    size = 0
    try:
        with gzip.GzipFile(fileobj=BytesIO(content)) as stream:
            while size <= limit and (block := stream.read(_STEP)):
                size += len(block)
    except (OSError, EOFError, zlib.error):  # the decoder reports it
        pass
    return size


def _of_zlib(content: bytes, limit: int) -> int | None:
    stream, size = zlib.decompressobj(), 0
    try:
        block = stream.decompress(content, _STEP)
        while block and size <= limit:
            size += len(block)
            block = stream.decompress(stream.unconsumed_tail, _STEP)
    except zlib.error:
        pass
    return size


_SIZES = {"blosc": _of_blosc, "gzip": _of_gzip, "zlib": _of_zlib, "zstd": _of_zstd}
