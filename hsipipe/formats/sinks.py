"""Check, before the work, that a cube can be written in the end."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hsipipe.errors import DataError, FileFormatError, MissingInputError
from hsipipe.formats.base import CubeFormat
from hsipipe.formats.catalogue import FORMATS
from hsipipe.storage.space import check_folder, check_space

_OVERHEAD_BYTES = 1 << 20
"""Space for what is written in addition to the values."""


def writer(path: Path) -> CubeFormat:
    """Return the format that saves to the suffix of `path`.

    Raises:
        FileFormatError: No format writes the suffix.
        MissingInputError: The parent folder does not exist.
    """
    writers = {suffix: form for form in FORMATS.values() for suffix in form.saved_as}
    form = writers.get(path.suffix.lower())
    if form is None:
        suffix = repr(path.suffix) if path.suffix else "a name without suffix"
        raise FileFormatError(f"{path}: cubes cannot be written as {suffix}; use {', '.join(sorted(writers))}")
    if not path.absolute().parent.is_dir():
        raise MissingInputError(f"{path}: there is no folder {path.absolute().parent}; create it first.")
    return form


def check_sinks(paths: Sequence[Path], shape: tuple[int, int, int], dtype: Any = np.float32) -> None:
    """Check that cubes of one shape can be written to all of `paths`, which lie in one folder.

    Args:
        paths: Files or folders of the results.
        shape: (band, y, x) of each.
        dtype: Type of the values.

    Raises:
        FileFormatError: A suffix that no format writes, or a cube that the format cannot hold.
        MissingInputError: The folder does not exist.
        DataError: No real numbers, a folder that is not writable, a name that is taken by a file of another kind, or
            too little disk.
    """
    kind = np.dtype(dtype)
    if kind.kind not in "iufb":
        raise DataError(f"A cube holds real numbers, got {kind}; save its magnitude or real part.")
    for path in paths:
        form = writer(path)
        most_bands, longest = form.limits()
        if shape[0] > (most_bands or shape[0]) or max(shape[1:]) > (longest or max(shape[1:])):
            raise FileFormatError(
                f"{path}: {form.title} holds at most {most_bands} bands and {longest} rows or columns, got {shape}; "
                "save the cube as .zarr or .nc"
            )
        check_folder(path)
        if path.is_dir() != form.is_folder and path.exists():
            there, wanted = ("folder", "file") if path.is_dir() else ("file", "folder")
            raise DataError(f"{path} is a {there}, expected a {wanted} or nothing; choose another name or remove it.")
    nbytes = prod(shape) * kind.itemsize + _OVERHEAD_BYTES
    sizes = [size for path in paths for size in writer(path).sizes(nbytes)]
    check_space(paths[0], sum(sizes), files=0 if writer(paths[0]).is_folder else len(sizes))
