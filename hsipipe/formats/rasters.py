"""Open rasters with a fixed GDAL driver: some GDAL formats refer to other files."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from hsipipe.formats.side_files import check_side_files
from hsipipe.storage.urls import Url

_LOCK = threading.Lock()


@contextmanager
def open_raster(name: str | Url, *, driver: str, mode: str | None = None, **profile: Any) -> Iterator[Any]:
    """Open a raster with one driver for reading, for writing if a profile is given, or in another mode of rasterio.

    The warning about a missing position is suppressed. The files next to a raster that is read are checked first; those
    next to a remote raster are not read.

    Raises:
        FileFormatError: As :func:`~hsipipe.formats.side_files.check_side_files`.
        MissingInputError: A remote raster cannot be reached.
    """
    if isinstance(name, Url):
        from hsipipe.formats.remote_rasters import open_remote  # what reads the network is slow to import

        with open_remote(name, driver=driver, quietly=quietly) as raster:
            yield raster
        return
    path = None if profile else _file_of(name)
    if path is not None:
        check_side_files(path)
    with quietly():
        raster = rasterio.open(name, mode or ("w" if profile else "r"), driver=driver, **profile)
    with raster:
        if path is not None and str(path) == name:
            check_side_files(path, bands=raster.count)
        yield raster


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress rasterio's warning about a missing position."""
    # Warning filters are global to the process: two threads must not change them at the same time.
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _file_of(name: str) -> Path:
    """Return the file of a raster or of one of its pages, ``GTIFF_DIR:off:8:/path``."""
    return Path(name.split(":", 3)[3] if name.startswith("GTIFF_DIR:") else name)
