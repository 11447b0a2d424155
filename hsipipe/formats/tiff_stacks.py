"""Find the planes of a TIFF that its directories do not list.

ImageJ writes one directory for a whole stack above 4 GB, tifffile does so on request; GDAL then sees one plane.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile

from hsipipe.errors import FileFormatError
from hsipipe.formats.lazy import MappedSource, open_lazily
from hsipipe.storage.places import open_bytes
from hsipipe.storage.urls import Place, Url

_STACKS = ("imagej", "shaped", "volumetric", "stk", "nih", "lsm")
"""Kinds of files whose planes need not have a directory each."""
_MOST_SUBIMAGES = 16


@dataclass(frozen=True)
class Stack:
    """A stack as the description of its program states it.

    Attributes:
        values: (band, y, x), if one directory holds all planes; None if each plane has its own.
        labels: Names of the planes, or none.
    """

    values: da.Array | None
    labels: Sequence[str]


def inspect_stack(path: Place) -> Stack:
    """Open the stack of a TIFF by ImageJ or tifffile.

    Raises:
        FileFormatError: It has several axes beside rows and columns, or fewer planes than it claims.
    """
    with open_bytes(path) as stream, tifffile.TiffFile(stream) as file:
        _check_subimages(file)
        # The description of OME-TIFF may name other files.
        if file.is_ome or not any(getattr(file, f"is_{kind}") for kind in _STACKS):
            return Stack(None, ())
        facts = file.imagej_metadata or {}
        labels = [str(label) for label in facts.get("Labels") or ()]
        hidden = [series for series in file.series if _planes(series) > _listed(series)]
        if file.is_imagej:
            for series in file.series:
                _check_axes(series)
            _check_claim(facts.get("images"), file)
        if not hidden:
            return Stack(None, labels)
        if len(file.series) > 1:
            raise FileFormatError("it holds several stacks, one of them in one directory; save one stack per file")
        if isinstance(path, Url):
            raise FileFormatError("one directory describes all its planes; download the file")
        return Stack(_open_hidden(path, file, hidden[0]), labels)


def _planes(series: Any) -> int:
    rows_and_columns = math.prod(n for axis, n in zip(series.axes, series.shape, strict=True) if axis in "YX")
    return int(math.prod(series.shape) // max(rows_and_columns, 1))


def _listed(series: Any) -> int:
    """Return the number of planes that GDAL sees, which ignores the depth of an image."""
    return sum(int(page.keyframe.samplesperpixel) for page in series.pages if page is not None)


def _check_claim(claimed: Any, file: tifffile.TiffFile) -> None:
    held = max(_planes(file.series[0]), len(file.pages))
    if isinstance(claimed, int) and claimed > held:
        raise FileFormatError(f"ImageJ's description claims {claimed} images, it holds {held}; copy it again")


def _check_subimages(file: tifffile.TiffFile) -> None:
    """Refuse images in sub-directories, which GDAL does not list, unless they are smaller copies."""
    for page in file.pages:
        for image in islice(page.pages or (), _MOST_SUBIMAGES) if page.subifds else ():
            if image.shape[:2] == page.shape[:2] and not getattr(image.keyframe, "subfiletype", 0) & 1:
                raise FileFormatError("it holds images in sub-directories; save it with one directory per band")


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
