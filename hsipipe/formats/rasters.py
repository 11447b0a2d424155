"""Opening files through GDAL, which must not pick the driver: some of its formats point at other files."""

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
    """Open a raster with one driver, for reading, or for writing if a profile is given.

    A raster without a position is no reason for a warning here.
    """
    # Filters of warnings belong to the process: two threads must not change them at once.
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        raster = rasterio.open(name, "w" if profile else "r", driver=driver, **profile)
    with raster:
        yield raster
