"""Zarr v3 stores: named dimensions, units, checksummed chunks, every chunk present.

Zarr's default compression has no checksum and a missing chunk reads as the fill value; both give wrong
data silently. Here every chunk is written with a checksum, chunks of zeros included, a store is opened only
when all its files are there, and a reading that met a damaged or missing file names it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.array_spec import ArrayConfigParams

from hsipipe.errors import AlreadyRunningError, IntegrityError, MissingInputError
from hsipipe.storage.shards import MEND, read_index, shard_file, unreadable

# Radiometric noise hardly compresses: higher levels cost time and save next to nothing.
_LEVEL = 1
# Attribute of a store that holds chunks of zeros too, so that a missing file is a loss and no shorthand.
EVERY_CHUNK = "every_chunk_is_written"
# Not part of the stored metadata: it holds for an opened array, so it is set at each opening.
_CONFIG: ArrayConfigParams = {"write_empty_chunks": True}


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store.

    Attributes:
        shape: Shape.
        dims: A name for each axis.
        chunks: The unit that is compressed and checked.
        shards: Shape of one file, a whole multiple of `chunks`; None: one file a chunk. A file must have
            one writer only.
        dtype: NumPy dtype.
        attrs: Attributes; ``units`` among them.
        compressed: False: chunks are stored as they are, with a checksum, for what is read in random order many times
            (:class:`~hsipipe.storage.shards.RowReader`).
    """

    shape: tuple[int, ...]
    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    dtype: str = "float32"
    attrs: Mapping[str, Any] = field(default_factory=dict)
    compressed: bool = True


def create_store(path: Path, arrays: Mapping[str, ArraySpec], *, attrs: Mapping[str, Any]) -> zarr.Group:
    """Create the metadata of a store in one go; the arrays' regions are filled afterwards.

    Raises:
        AlreadyRunningError: Something is at `path` already: another writer's store, or an old one.
    """
    _claim(path)
    group = zarr.create_group(path, zarr_format=3, attributes={**attrs, EVERY_CHUNK: True})
    for name, spec in arrays.items():
        group.create_array(
            name,
            shape=spec.shape,
            dtype=spec.dtype,
            chunks=tuple(min(a, b) for a, b in zip(spec.chunks, spec.shape, strict=True)),
            shards=spec.shards,
            compressors=ZstdCodec(level=_LEVEL, checksum=True) if spec.compressed else Crc32cCodec(),
            fill_value=0,
            attributes=dict(spec.attrs),
            dimension_names=spec.dims,
            config=_CONFIG,
        )
    return group


def write_small(group: zarr.Group, name: str, values: NDArray[Any], *, dim: str, units: str) -> None:
    """Add a vector in one chunk, such as the wavelengths."""
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=values.shape,
        compressors=ZstdCodec(level=_LEVEL, checksum=True),
        attributes={"units": units},
        dimension_names=(dim,),
        config=_CONFIG,
    )
    array[...] = values


def open_store(path: Path) -> zarr.Group:
    """Open a store for reading, after a check that all its files are there.

    Raises:
        MissingInputError: There is no store at `path`.
        IntegrityError: A file of the store is missing (named), or its metadata is damaged.
    """
    if not (path / "zarr.json").is_file():
        raise MissingInputError(f"No store at {path}. Run the stage that makes it (dvc repro).")
    try:
        group = zarr.open_group(path, mode="r")
        # Stores from outside may leave out chunks of the fill value, as the format allows.
        arrays = [array for _, array in group.arrays()] if group.attrs.get(EVERY_CHUNK) else []
    except Exception as error:  # zarr has no common base for what damaged metadata raises
        raise IntegrityError(f"{path} is damaged: {_line(error)}. Make it again (dvc repro).") from error
    for array in arrays:
        _check_complete(array)
    return group


def get_array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """The array `name`, for reading and for writing (zeros included).

    Raises:
        IntegrityError: The store has no such array.
    """
    found = group.get(name)
    if not isinstance(found, zarr.Array):
        raise IntegrityError(
            f"{group.store_path} has no array {name!r}, only {', '.join(sorted(group.array_keys()))}. "
            "Make it again (dvc repro)."
        )
    return found.with_config(_CONFIG)


def read(array: zarr.Array[Any], selection: Any = ...) -> NDArray[Any]:
    """Read a basic selection (slices with a step of 1, and integers) of an array of a store that was made here.

    Raises:
        IntegrityError: A file is missing, fails its checksum or cannot be decoded; the message names it.
    """
    try:
        values = np.asarray(array[selection])
    except (IndexError, KeyError):
        raise
    except Exception as error:  # codecs raise RuntimeError, ValueError, ...: whatever they meet first
        for position in _touched(array, selection):
            _check_file(array, position)
            _check_decodes(array, position)
        raise IntegrityError(f"{array.store_path} cannot be read in {selection!r}: {_line(error)}. {MEND}") from error
    # Zarr takes a lost file for zeros. What is here after the reading was here in it.
    for position in _touched(array, selection):
        _check_file(array, position)
    return values


def _claim(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()  # of two processes, one succeeds
    except FileExistsError as error:
        if not path.is_dir() or any(path.iterdir()):
            raise AlreadyRunningError(
                f"{path} exists already: another writer is at work, or it was left over. A store has one writer; "
                "remove it or write elsewhere."
            ) from error


def _check_complete(array: zarr.Array[Any]) -> None:
    for position in _touched(array, ...):
        if not shard_file(array, position).is_file():
            raise IntegrityError(
                f"{shard_file(array, position)} is missing; without it {array.name} would read as zeros. "
                "Make it again (dvc repro)."
            )


def _unit(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Shape of one file."""
    return array.shards or array.chunks


def _touched(array: zarr.Array[Any], selection: Any) -> Iterator[tuple[int, ...]]:
    """Positions of the files that a basic selection reads."""
    given = selection if isinstance(selection, tuple) else (selection,)
    at = given.index(...) if ... in given else len(given)
    rest = len(array.shape) - len([key for key in given if key is not ...])
    keys = (*given[:at], *[slice(None)] * rest, *given[at + 1 :])
    ranges = []
    for key, length, size in zip(keys, array.shape, _unit(array), strict=True):
        start, stop, _ = key.indices(length) if isinstance(key, slice) else (key % length, key % length + 1, 1)
        ranges.append(range(start // size, -(-stop // size)) if stop > start else range(0))
    return product(*ranges)


def _check_file(array: zarr.Array[Any], position: tuple[int, ...]) -> None:
    if array.shards is not None:
        read_index(array, position)
        return
    try:
        os.stat(shard_file(array, position))
    except OSError as error:
        raise unreadable(shard_file(array, position), error) from error


def _check_decodes(array: zarr.Array[Any], position: tuple[int, ...]) -> None:
    region = tuple(slice(i * size, (i + 1) * size) for i, size in zip(position, _unit(array), strict=True))
    try:
        array[region]
    except Exception as error:
        raise IntegrityError(f"{shard_file(array, position)} cannot be decoded: {_line(error)}. {MEND}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def rows_per_chunk(shape: Sequence[int], *, multiple: int = 1, least: int = 1, limit: int = 4 << 20) -> int:
    """Rows of a float32 cube (band, y, x) in one chunk.

    Args:
        shape: Of the cube.
        multiple: The rows are a multiple of this.
        least: At least so many rows (as far as the cube has them), however wide the cube.
        limit: Otherwise at most so many bytes.
    """
    bands, height, width = shape
    rows = max(limit // (bands * width * 4), least, multiple)
    return min(rows // multiple * multiple, -(-height // multiple) * multiple)
