"""Open rasters with a fixed GDAL driver: some GDAL formats refer to other files."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning

_LOCK = threading.Lock()


@contextmanager
def open_raster(name: str, *, driver: str, **profile: Any) -> Iterator[Any]:
    """Open a raster with one driver for reading, or for writing if a profile is given.

    The warning about a missing position is suppressed.
    """
    # Warning filters are global to the process: two threads must not change them at the same time.
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        raster = rasterio.open(name, "w" if profile else "r", driver=driver, **profile)
    with raster:
        yield raster
