"""Create and read Zarr v3 stores with named dimensions, units, and a checksum in every chunk.

Zarr's default compression has no checksum, and a missing chunk reads as the fill value; both give wrong data silently.
Here every chunk is written with a checksum, including chunks of zeros. A store is opened only if all its files exist,
and the error of a damaged or missing file names it.
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

from hsipipe.errors import AlreadyRunningError, IntegrityError, MissingInputError, one_line
from hsipipe.storage.shards import REMEDY, read_index, shard_file, unreadable

# Radiometric noise hardly compresses: higher levels cost time and save almost no space.
_LEVEL = 1
# Attribute of a store that also holds chunks of zeros, so that a missing file is always data loss.
EVERY_CHUNK = "every_chunk_is_written"
# A setting of the opened array that is not stored, so it is set again on opening.
_CONFIG: ArrayConfigParams = {"write_empty_chunks": True}


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store.

    Attributes:
        shape: Shape of the array.
        dims: Name of each axis.
        chunks: Shape of the unit that is compressed and checked.
        shards: Shape of one file, a multiple of `chunks`; None: one file per chunk. A file must have only one writer.
        dtype: NumPy dtype.
        attrs: Attributes, including ``units``.
        compressed: False stores chunks uncompressed with a checksum, for repeated reading in random order
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
    """Create the metadata of a store at once; regions of the arrays are filled afterwards.

    Raises:
        AlreadyRunningError: `path` exists: the store of another writer, or an old one.
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
    """Add a vector in one chunk, for example the wavelengths."""
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
    """Open a store for reading after checking that all its files exist.

    Raises:
        MissingInputError: `path` is not a store.
        IntegrityError: A file of the store is missing (the message names it), or its metadata is damaged.
    """
    if not (path / "zarr.json").is_file():
        raise MissingInputError(f"No store at {path}. Run the stage that creates it (dvc repro).")
    try:
        group = zarr.open_group(path, mode="r")
        # Stores of other programs may omit chunks of the fill value, as the format allows.
        arrays = [array for _, array in group.arrays()] if group.attrs.get(EVERY_CHUNK) else []
    except Exception as error:  # Zarr's errors for damaged metadata have no common base
        raise IntegrityError(f"{path} is damaged: {one_line(error)}. Create it again (dvc repro).") from error
    for array in arrays:
        _check_complete(array)
    return group


def get_array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return the array `name` for reading and writing, including chunks of zeros.

    Raises:
        IntegrityError: The store has no such array.
    """
    found = group.get(name)
    if not isinstance(found, zarr.Array):
        raise IntegrityError(
            f"{group.store_path} has no array {name!r}, only {', '.join(sorted(group.array_keys()))}. "
            "Create it again (dvc repro)."
        )
    return found.with_config(_CONFIG)


def read(array: zarr.Array[Any], selection: Any = ...) -> NDArray[Any]:
    """Read a basic selection (integers and slices of step 1) of an array written by this module.

    Raises:
        IntegrityError: A file is missing, fails its checksum or cannot be decoded; the message names it.
    """
    try:
        values = np.asarray(array[selection])
    except (IndexError, KeyError):
        raise
    except Exception as error:  # codecs raise errors of any type
        for position in _touched(array, selection):
            _check_file(array, position)
            _check_decodes(array, position)
        raise IntegrityError(
            f"{array.store_path}[{selection!r}] cannot be read: {one_line(error)}. {REMEDY}"
        ) from error
    # Zarr reads a missing file as zeros. A file that exists after the read existed during it.
    for position in _touched(array, selection):
        _check_file(array, position)
    return values


def _claim(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()  # only one of two processes succeeds
    except FileExistsError as error:
        if not path.is_dir() or any(path.iterdir()):
            raise AlreadyRunningError(
                f"{path} exists: another writer is active, or an earlier one was interrupted. A store has one writer; "
                "remove the folder or write elsewhere."
            ) from error


def _check_complete(array: zarr.Array[Any]) -> None:
    for position in _touched(array, ...):
        if not shard_file(array, position).is_file():
            raise IntegrityError(
                f"{shard_file(array, position)} is missing; {array.name} would read as zeros. "
                "Create it again (dvc repro)."
            )


def _unit(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Return the shape of one file."""
    return array.shards or array.chunks


def _touched(array: zarr.Array[Any], selection: Any) -> Iterator[tuple[int, ...]]:
    """Iterate over the positions of the files that a basic selection reads."""
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
        raise IntegrityError(f"{shard_file(array, position)} cannot be decoded: {one_line(error)}. {REMEDY}") from error


def rows_per_chunk(shape: Sequence[int], *, multiple: int = 1, least: int = 1, limit: int = 4 << 20) -> int:
    """Compute the number of rows of a float32 cube (band, y, x) in one chunk.

    Args:
        shape: Shape of the cube.
        multiple: The number of rows is a multiple of this.
        least: Smallest number of rows, if the cube has that many; takes precedence over `limit`.
        limit: Largest size of a chunk in bytes.
    """
    bands, height, width = shape
    rows = max(limit // (bands * width * 4), least, multiple)
    return min(rows // multiple * multiple, -(-height // multiple) * multiple)
