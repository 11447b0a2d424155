"""ENVI: a text header, ``x.hdr``, next to a file of uncompressed numbers. Read lazily.

Reflectance scale factors, gains and offsets of the header are not applied: values are as stored.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import CubeFormat, make_cube, remember
from hsipipe.formats.georeference import attach
from hsipipe.formats.lazy import MappedSource, open_lazily
from hsipipe.formats.wavelengths import from_texts, in_nm
from hsipipe.storage.stores import one_line

logger = logging.getLogger(__name__)

Header = Mapping[str, str]

SUFFIXES = ("", ".img", ".dat", ".raw", ".bil", ".bip", ".bsq", ".bin", ".cube", ".hsi", ".envi", ".sli")
_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = (6, 9)
_FIELD = re.compile(r"^[ \t]*([^={}\n]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\n]*)", re.MULTILINE)


def is_header(path: Path) -> bool:
    """Return True if a file begins with the word ENVI."""
    with path.open("rb") as stream:
        return stream.read(8).removeprefix(b"\xef\xbb\xbf").startswith(b"ENVI")


def header_of(data: Path) -> Path | None:
    """Return the header next to a data file, ``x.hdr`` or ``x.img.hdr``, or None."""
    names = [data.with_suffix(suffix) for suffix in (".hdr", ".HDR")] if data.name else []
    names += [data.with_name(data.name + suffix) for suffix in (".hdr", ".HDR")]
    return next((path for path in names if path != data and path.is_file() and is_header(path)), None)


def data_of(header: Path) -> Path | None:
    """Return the data file next to a header, or None."""
    stem = header.with_suffix("")
    own = stem.suffix.lower() in SUFFIXES[1:]  # x.img.hdr
    suffixes = [] if own else [case(suffix) for suffix in SUFFIXES[1:] for case in (str.lower, str.upper)]
    names = [stem, *(stem.with_name(stem.name + suffix) for suffix in suffixes)]
    return next((path for path in names if path.is_file() and path != header), None)


def _pair(path: Path) -> tuple[Path, Path]:
    """Return header and data file by the path of either."""
    if path.suffix.lower() != ".hdr":
        header = header_of(path)
        if header is None:
            raise FileFormatError(f"there is no ENVI header next to it; expected {path.with_suffix('.hdr').name}")
        return header, path
    data = data_of(path)
    if data is None:
        raise FileFormatError(
            f"there is no data file next to this header; expected {path.with_suffix('').name} with one of the suffixes "
            f"{', '.join(filter(None, SUFFIXES))} or none"
        )
    return path, data


def read_header(path: Path) -> dict[str, str]:
    """Parse the fields of a header; names in lower case, lists with their braces.

    Raises:
        FileFormatError: The file is not an ENVI header.
    """
    if not is_header(path):
        raise FileFormatError(f"{path.name} is not an ENVI header, it does not begin with ENVI")
    # Descriptions may be in any encoding.
    lines = path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    content = "\n".join(line for line in lines if not line.lstrip().startswith(";"))
    fields = {re.sub(r"\s+", " ", name).lower(): value.strip() for name, value in _FIELD.findall(content)}
    return {name: value for name, value in fields.items() if value.strip("{} \n\t")}  # an empty list is no value


def _values(header: Header, data: Path) -> xr.DataArray:
    rows, columns, bands = (_whole(header, name, least=1) for name in ("lines", "samples", "bands"))
    dtype, offset = _dtype(header), _whole(header, "header offset", least=0, default=0)
    if _whole(header, "file compression", least=0, default=0):
        raise FileFormatError("the data file is compressed (file compression = 1); unpack it and set the field to 0")
    _refuse_frames(header)
    got, expected = data.stat().st_size, offset + rows * columns * bands * dtype.itemsize
    if got < expected:
        raise FileFormatError(
            f"{data.name} has {got} bytes, expected {expected} by its header ({rows} lines, {columns} samples, "
            f"{bands} bands of {dtype.itemsize} bytes after {offset}); the file is incomplete, copy it again"
        )
    n = dtype.itemsize
    # Bytes to the next band, row and column.
    strides = {
        "bsq": (rows * columns * n, columns * n, n),
        "bil": (columns * n, bands * columns * n, n),
        "bip": (n, columns * bands * n, bands * n),
    }
    interleave = header.get("interleave", "").lower()
    if interleave not in strides:
        raise FileFormatError(f"interleave is {header.get('interleave', 'missing')!r}, expected bil, bip or bsq")
    values: Any = open_lazily(MappedSource(data, (bands, rows, columns), dtype, offset, strides[interleave]))
    cube = make_cube(values)
    ignored = header.get("data ignore value", "").strip("{} ")
    if ignored:
        # Compare as stored: float32 does not represent every integer.
        cube = cube.where(xr.DataArray(values != _number("data ignore value", ignored), dims=cube.dims))
    return cube


def _with_bands(cube: xr.DataArray, header: Header) -> xr.DataArray:
    count = cube.sizes["band"]
    units = header.get("wavelength units", "").strip("{} ")
    scale = header.get("reflectance scale factor")
    if scale:
        cube.attrs["reflectance_scale_factor"] = _number("reflectance scale factor", scale)
    if "bbl" in header:
        cube.attrs["bad_bands"] = (np.flatnonzero(_numbers(header, "bbl", count) == 0) + 1).tolist()
    if units.casefold() == "index":  # the axis is not a wavelength
        return cube
    nm = None
    if "wavelength" in header:
        nm = in_nm(_numbers(header, "wavelength", count), units)
    elif "band names" in header:
        nm = from_texts(_list(header["band names"]))
    if nm is None or nm.size != count:
        return cube
    cube = cube.assign_coords(wavelength_nm=("band", nm, {"units": "nm", "long_name": "centre wavelength"}))
    if "fwhm" in header:
        stored = _numbers(header, "fwhm", count)
        widths = stored * (nm / _numbers(header, "wavelength", count)) if "wavelength" in header else stored
        cube = cube.assign_coords(fwhm_nm=("band", widths, {"units": "nm", "long_name": "full width at half maximum"}))
    return cube


def _with_position(cube: xr.DataArray, data: Path) -> xr.DataArray:
    from hsipipe.formats.rasters import open_raster

    try:
        with open_raster(str(data.absolute()), driver="ENVI") as raster:
            return attach(cube, crs=raster.crs, transform=None if raster.transform.is_identity else raster.transform)
    except RasterioIOError as error:  # GDAL is stricter with headers, for example with a byte order mark
        logger.warning("%s: the position is skipped, GDAL cannot read it: %s", data, one_line(error))
        return cube


def _dtype(header: Header) -> np.dtype[Any]:
    code = _whole(header, "data type", least=1)
    if code in _COMPLEX:
        raise FileFormatError("the values are complex (data type 6 or 9), expected real numbers")
    if code not in _TYPES:
        raise FileFormatError(f"data type is {code}, expected one of {', '.join(map(str, _TYPES))}")
    order = _whole(header, "byte order", least=0, default=0)
    if order not in (0, 1):
        raise FileFormatError(f"byte order is {order}, expected 0 (least significant first) or 1")
    return np.dtype(("<", ">")[order] + _TYPES[code])


def _refuse_frames(header: Header) -> None:
    for name in ("major frame offsets", "minor frame offsets"):
        if any(word.strip() not in ("", "0") for word in _list(header.get(name, ""))):
            raise FileFormatError(f"{name} are {header[name]}, expected 0; save the file without them")


def _whole(header: Header, name: str, *, least: int, default: int | None = None) -> int:
    if name not in header:
        if default is not None:
            return default
        raise FileFormatError(f"the header has no field {name!r}; add it")
    try:
        value = int(header[name].strip("{} "))
    except ValueError:
        value = least - 1
    if value < least:
        raise FileFormatError(f"{name} is {header[name]!r}, expected an integer of at least {least}")
    return value


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise FileFormatError(f"{name} is {value!r}, expected a number") from error


def _numbers(header: Header, name: str, count: int) -> NDArray[np.float64]:
    words = _list(header[name])
    if len(words) != count:
        raise FileFormatError(f"{name} lists {len(words)} values for {count} bands")
    return np.array([_number(name, word) for word in words])


def _list(value: str) -> list[str]:
    words = [" ".join(word.split()) for word in value.strip().strip("{}").split(",")]
    return words[:-1] if words and not words[-1] else words


class Envi(CubeFormat):
    """Text header with a data file next to it."""

    title = "ENVI"
    suffixes = (".hdr",)
    has_variables = False

    def recognises(self, path: Path) -> bool:
        """Return True for a header, and for a file of any name with a header next to it.

        Raises:
            FileFormatError: The file is named as a header and is not one.
        """
        if not path.is_file():
            return False
        if path.suffix.lower() != ".hdr":
            return header_of(path) is not None
        if not is_header(path):
            raise FileFormatError("not an ENVI header, it does not begin with ENVI")
        return True

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube lazily, by the name of its header or of its data file."""
        header_path, data = _pair(path)
        header = read_header(header_path)
        cube = _values(header, data)
        cube = _with_bands(cube, header)
        if "map info" in header or "coordinate system string" in header:
            cube = _with_position(cube, data)
        return remember(cube, dtype=_dtype(header))

    def files(self, path: Path) -> list[Path]:
        """List the header and the data file."""
        return sorted(_pair(path))

    def is_main(self, path: Path) -> bool:
        """Return True for the header that belongs to its data file."""
        data = data_of(path) if path.suffix.lower() == ".hdr" else None
        return data is not None and header_of(data) == path


FORMAT = Envi()
