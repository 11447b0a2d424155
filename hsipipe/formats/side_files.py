"""Check the files next to a raster that GDAL reads as part of it, before GDAL trusts them.

``x.tif.aux.xml`` can set the scale, the offset and the value without data, and can name other files. ``x.tif.msk``
may be of any format of GDAL, also of one that refers to other files.
"""

import math
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element

from hsipipe.errors import FileFormatError
from hsipipe.formats.xml_files import read_xml

_MOST_ITEMS = 8192
"""Most items of metadata; the time that GDAL takes grows with their square."""
PAM, MASK = ".aux.xml", ".msk"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NUMBERS = {"Scale": 1, "Offset": 1, "NoDataValue": 1, "GeoTransform": 6}
"""Elements that change values or the position, and how many numbers each holds."""


def check_side_files(path: Path, *, bands: int | None = None) -> None:
    """Check the side files of a raster.

    Args:
        path: The raster.
        bands: Number of its bands; None: unknown.

    Raises:
        FileFormatError: A side file is damaged, describes another raster, or refers to other files.
    """
    pam, mask = path.with_name(path.name + PAM), path.with_name(path.name + MASK)
    if mask.is_file():
        with mask.open("rb") as stream:
            if stream.read(4) not in _TIFF:
                raise FileFormatError(f"the mask {mask.name} next to it is not a TIFF; remove it or write it again")
    if pam.is_file() and (state := pam.stat()).st_size:
        last = _last_band(pam, state.st_mtime_ns, state.st_size)
        if bands is not None and last > bands:
            raise FileFormatError(
                f"{pam.name} describes band {last}, the image has {bands} bands; it belongs to another image, remove it"
            )


@lru_cache(maxsize=256)
def _last_band(pam: Path, modified_ns: int, size: int) -> int:
    """Check a PAM file; return the largest band number of the raster itself."""
    root = read_xml(pam)
    if root.tag != "PAMDataset":
        raise FileFormatError(f"{pam.name} holds <{root.tag}>, expected <PAMDataset>; remove it or write it again")
    if sum(1 for _ in root.iter("MDI")) > _MOST_ITEMS:
        raise FileFormatError(f"{pam.name} has more than {_MOST_ITEMS} items of metadata; remove it")
    for element in root.iter():
        if element.tag in _NUMBERS:
            _check_numbers(pam, element)
        if element.tag == "MDI" and element.get("key", "").upper() == "OVERVIEW_FILE":
            raise FileFormatError(f"{pam.name} names another file, {element.text!r}; remove that entry")
    return max([0, *(_band(pam, element) for element in root.findall("PAMRasterBand"))])


def _check_numbers(pam: Path, element: Element) -> None:
    words = (element.text or "").replace(",", " ").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    usable = element.tag == "NoDataValue" or all(map(math.isfinite, numbers))
    if len(numbers) != _NUMBERS[element.tag] or not usable or (element.tag == "Scale" and numbers == [0.0]):
        raise FileFormatError(
            f"{pam.name} has the {element.tag} {(element.text or '')[:40]!r}, expected {_NUMBERS[element.tag]} finite "
            "numbers, and no scale of 0; remove it or write it again"
        )


def _band(pam: Path, element: Element) -> int:
    text = element.get("band", "")
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise FileFormatError(f"{pam.name} describes a band {text[:20]!r}, expected a number from 1 on; remove it")
    return int(text)
