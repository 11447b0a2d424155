"""Zarr stores with named dimensions, as this project and xarray write them. Opened lazily."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.codecs import ZstdCodec

from hsipipe.formats.base import CubeFormat
from hsipipe.formats.labelled import cube_of, to_dataset
from hsipipe.storage.stores import EVERY_CHUNK, open_store, rows_per_chunk


def read(path: Path, *, variable: str | None = None) -> xr.DataArray:
    """Open the cube of a store; its values are Dask arrays until they are needed."""
    if (path / "zarr.json").is_file():
        open_store(path)  # a chunk that got lost would read as zeros
    dataset = xr.open_zarr(path, consolidated=False, chunks={})
    return cube_of(dataset, variable)


def write(cube: xr.DataArray, path: Path) -> None:
    """Write the cube in chunks of some rows with all bands."""
    rows = rows_per_chunk(cube.shape)
    if cube.chunks is not None:  # one writer a chunk
        cube = cube.chunk({"band": -1, "y": rows, "x": -1})
    dataset, name = to_dataset(cube)
    dataset.attrs[EVERY_CHUNK] = True
    codec = ZstdCodec(level=1, checksum=True)
    encoding: dict[Any, dict[str, Any]] = {
        key: {"compressors": [codec], "write_empty_chunks": True}
        for key, array in dataset.variables.items()
        if np.issubdtype(array.dtype, np.number)
    }
    encoding[name]["chunks"] = (cube.sizes["band"], min(rows, cube.sizes["y"]), cube.sizes["x"])
    dataset.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding, mode="w")


FORMAT = CubeFormat(title="Zarr", read=read, write=write, folder=True)
