"""HDF5 files from outside, opened with care.

An HDF5 file may point at any other file of the machine, by external links, external storage or virtual
data sets. Nothing here follows such a pointer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError


@contextmanager
def open_hdf5(path: Path) -> Iterator[dict[str, h5py.Dataset]]:
    """Open a file and give its top-level data sets of numbers.

    Raises:
        FileFormatError: The file links to others.
    """
    with h5py.File(path, "r") as file:
        found = {}
        for name in file:
            link = file.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise FileFormatError(
                    f"{name!r} is a link to another place; such files are refused, store the data itself"
                )
            entry = file[name]
            if isinstance(entry, h5py.Dataset) and entry.dtype.kind in "iufb":
                found[name] = entry
        yield found


def read_dataset(dataset: h5py.Dataset) -> NDArray[Any]:
    """Read all of a data set.

    Raises:
        FileFormatError: Its bytes lie in another file.
    """
    if dataset.external or dataset.is_virtual:
        raise FileFormatError(f"{dataset.name!r} keeps its values in another file; store the data itself")
    return np.asarray(dataset[()])


def text(value: Any) -> str:
    """An HDF5 text attribute, which may come as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
