"""Open remote rasters: GDAL gets their bytes from Python, so that it sends no requests and sees no other file."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, cast

import rasterio
from rasterio.errors import RasterioError

from hsipipe.storage.ranges import RangeFile
from hsipipe.storage.urls import Url

_NUMBERS = itertools.count()


@contextmanager
def open_remote(url: Url, *, driver: str, quietly: Callable[[], AbstractContextManager[None]]) -> Iterator[Any]:
    """Open a remote raster.

    Args:
        url: File.
        driver: Driver of GDAL.
        quietly: Context in which it is opened.

    Raises:
        HsipipeError: The file cannot be reached, or is not what it was.
    """
    name, failed = f"/remote/{next(_NUMBERS)}/scene", list[Exception]()

    def opener(path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        if path != name or mode != "rb":
            raise FileNotFoundError(path)
        return cast(BinaryIO, _Guarded(url, failed))

    try:
        with quietly():
            raster = rasterio.open(name, driver=driver, opener=opener)
        with raster:
            yield raster
    except RasterioError:
        if failed:
            raise failed[0] from None
        raise
    if failed:
        raise failed[0]


class _Guarded(RangeFile):
    """A remote file for GDAL, which cannot pass on an error: it reads nothing, and the error is kept.

    Args:
        url: File.
        failed: List to which errors are added.
    """

    def __init__(self, url: Url, failed: list[Exception]) -> None:
        super().__init__(url)
        self._failed = failed

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer; return their number, 0 after an error."""
        try:
            return super().readinto(buffer)
        except Exception as error:  # whatever it is, it is raised when GDAL returns
            self._failed.append(error)
            return 0
