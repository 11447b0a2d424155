"""Whether the chunks of a Zarr store from a stranger unpack to what its metadata says, and to no more.

Decoders believe a compressed chunk: a few hundred bytes can unpack to gigabytes before anybody compares their number
with the shape of a chunk. Here the compressors are asked for the size, or unpacked piece by piece, and little else than
what people use is let through.
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
    """Remove what a store says twice, so that each node has one truth; it is changed in place."""
    (store / ".zmetadata").unlink(missing_ok=True)
    path = store / "zarr.json"
    if path.is_file():
        try:
            tree = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise FileFormatError("zarr.json is no JSON; the store seems damaged") from error
        if isinstance(tree, dict) and tree.pop("consolidated_metadata", None) is not None:
            path.write_text(json.dumps(tree), encoding="utf-8")


def check_chunks(store: Path, *, most_bytes: int) -> None:
    """Check every chunk of a store whose metadata were checked.

    Args:
        store: Its folder; without consolidated metadata.
        most_bytes: Largest chunk, unpacked.

    Raises:
        FileFormatError: A chunk unpacks to more than its array says, or the array is packed in another way than by one
            of the usual compressors.
    """
    for path in sorted(store.rglob("*")):
        if path.name not in (".zarray", "zarr.json") or not path.is_file():
            continue
        tree = json.loads(path.read_bytes())
        if path.name == ".zarray" or tree.get("node_type") == "array":
            name = path.parent.relative_to(store).as_posix()
            limit = chunk_bytes(tree, name)
            if limit > most_bytes:
                raise FileFormatError(f"the array {name!r} claims chunks of {limit} bytes, more than {most_bytes}")
            _check_files(path.parent, name, _compressor(tree, name), limit + _SLACK)


def _compressor(tree: dict[str, Any], name: str) -> str | None:
    """The one compressor of an array, or None."""
    if "codecs" in tree:
        given = [str(codec.get("name") if isinstance(codec, dict) else codec) for codec in tree["codecs"]]
        names = [codec.removeprefix("numcodecs.") for codec in given if codec not in _PLAIN]
        if names and given[-1] != "crc32c" and given[-1].removeprefix("numcodecs.") != names[0]:
            names = given  # what lies around a compressor hides what it says
    else:
        codecs = [*(tree.get("filters") or []), tree.get("compressor")]
        names = [str(codec["id"]) for codec in codecs if codec is not None and codec["id"] != "shuffle"]
    if len(names) > 1 or not set(names) <= set(_COMPRESSORS):
        raise FileFormatError(
            f"the array {name!r} is packed by {', '.join(names)}; send it with one of {', '.join(_COMPRESSORS)} "
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
                    f"a chunk of the array {name!r} unpacks to more than its {limit - _SLACK} bytes, or does not say "
                    "to how many"
                )


def _of_blosc(content: bytes, limit: int) -> int | None:
    return int(struct.unpack("<I", content[4:8])[0]) if len(content) >= 16 else 0  # shorter, it fails by itself


def _of_zstd(content: bytes, limit: int) -> int | None:
    """The content size of the frame's header (RFC 8878, 3.1.1.1)."""
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
    except (OSError, EOFError, zlib.error):  # the decoder will say so
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
