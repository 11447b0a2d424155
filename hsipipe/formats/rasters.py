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

_LOCK = threading.Lock()


@contextmanager
def open_raster(name: str, *, driver: str, mode: str | None = None, **profile: Any) -> Iterator[Any]:
    """Open a raster with one driver for reading, for writing if a profile is given, or in another mode of rasterio.

    The warning about a missing position is suppressed. The files next to a raster that is read are checked first.

    Raises:
        FileFormatError: As :func:`~hsipipe.formats.side_files.check_side_files`.
    """
    path = None if profile else _file_of(name)
    if path is not None:
        check_side_files(path)
    # Warning filters are global to the process: two threads must not change them at the same time.
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        raster = rasterio.open(name, mode or ("w" if profile else "r"), driver=driver, **profile)
    with raster:
        if path is not None and str(path) == name:
            check_side_files(path, bands=raster.count)
        yield raster


def _file_of(name: str) -> Path:
    """Return the file of a raster or of one of its pages, ``GTIFF_DIR:off:8:/path``."""
    return Path(name.split(":", 3)[3] if name.startswith("GTIFF_DIR:") else name)
