"""Find the planes of a TIFF that its directories do not list.

ImageJ writes one directory for a whole stack above 4 GB, tifffile does so on request; GDAL then sees one plane.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile

from hsipipe.errors import FileFormatError
from hsipipe.formats.lazy import MappedSource, open_lazily


@dataclass(frozen=True)
class Stack:
    """A stack as the description of its program states it.

    Attributes:
        values: (band, y, x), if one directory holds all planes; None if each plane has its own.
        labels: Names of the planes, or none.
    """

    values: da.Array | None
    labels: Sequence[str]


def inspect_stack(path: Path) -> Stack:
    """Open the stack of a TIFF by ImageJ or tifffile.

    Raises:
        FileFormatError: It has several axes beside rows and columns, or fewer planes than it claims.
    """
    with tifffile.TiffFile(path) as file:
        # The description of OME-TIFF may name other files.
        if file.is_ome or not (file.is_imagej or file.is_shaped):
            return Stack(None, ())
        facts = file.imagej_metadata or {}
        labels = [str(label) for label in facts.get("Labels") or ()]
        hidden = []
        for series in file.series:
            listed = sum(math.prod(page.shape) for page in series.pages if page is not None)
            if math.prod(series.shape) > listed:
                hidden.append(series)
            if file.is_imagej:
                _check_axes(series)
        planes = math.prod(file.series[0].shape[:-2]) if file.is_imagej else 1
        claimed = facts.get("images", 1)
        if isinstance(claimed, int) and claimed > max(planes, len(file.pages)):
            raise FileFormatError(f"ImageJ's description claims {claimed} images, it holds {planes}; copy it again")
        if not hidden:
            return Stack(None, labels)
        if len(file.series) > 1:
            raise FileFormatError("it holds several stacks, one of them in one directory; save one stack per file")
        return Stack(_open_hidden(path, file, hidden[0]), labels)


def _check_axes(series: Any) -> None:
    long = {axis: size for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 and axis not in "YX"}
    if len(long) > 1:
        listed = ", ".join(f"{axis} of {size}" for axis, size in long.items())
        raise FileFormatError(
            f"it has the axes {listed} beside rows and columns, expected one of bands; save one of each"
        )


def _open_hidden(path: Path, file: tifffile.TiffFile, series: Any) -> da.Array:
    _check_axes(series)
    if not str(series.axes).endswith("YX") or series.dataoffset is None:
        raise FileFormatError(
            f"one directory describes planes {'x'.join(map(str, series.shape))} that are compressed or interleaved; "
            "save it with one directory per plane"
        )
    dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
    rows, columns = series.shape[-2:]
    shape = (math.prod(series.shape[:-2]), rows, columns)
    end, size = series.dataoffset + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if end > size:
        raise FileFormatError(f"it has {size} bytes, expected {end} by its description; copy it again")
    strides = (rows * columns * dtype.itemsize, columns * dtype.itemsize, dtype.itemsize)
    return open_lazily(MappedSource(path, shape, dtype, int(series.dataoffset), strides))
