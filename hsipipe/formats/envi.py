"""ENVI: a text header, ``x.hdr``, beside a file of plain numbers. Read lazily.

Reflectance scale factors, gains and offsets of the header are not applied: values come as they are stored.
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
from hsipipe.formats.lazy import MappedSource, one_line, open_lazily
from hsipipe.formats.wavelengths import from_texts, in_nm

logger = logging.getLogger(__name__)

Header = Mapping[str, str]

SUFFIXES = ("", ".img", ".dat", ".raw", ".bil", ".bip", ".bsq", ".bin", ".cube", ".hsi", ".envi", ".sli")
_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = (6, 9)
_FIELD = re.compile(r"^[ \t]*([^={}\n]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\n]*)", re.MULTILINE)


def is_header(path: Path) -> bool:
    """Whether a file is an ENVI header, which begins with this word."""
    with path.open("rb") as stream:
        return stream.read(8).removeprefix(b"\xef\xbb\xbf").startswith(b"ENVI")


def header_of(data: Path) -> Path | None:
    """The header beside a data file, ``x.hdr`` or ``x.img.hdr``, if it has one."""
    names = [data.with_suffix(suffix) for suffix in (".hdr", ".HDR")] if data.name else []
    names += [data.with_name(data.name + suffix) for suffix in (".hdr", ".HDR")]
    return next((path for path in names if path != data and path.is_file() and is_header(path)), None)


def data_of(header: Path) -> Path | None:
    """The data file beside a header, if it has one."""
    stem = header.with_suffix("")
    own = stem.suffix.lower() in SUFFIXES[1:]  # x.img.hdr
    suffixes = [] if own else [case(suffix) for suffix in SUFFIXES[1:] for case in (str.lower, str.upper)]
    names = [stem, *(stem.with_name(stem.name + suffix) for suffix in suffixes)]
    return next((path for path in names if path.is_file() and path != header), None)


def read(path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
    """Open the cube of a header or of the data file beside it."""
    if variable is not None:
        raise FileFormatError("an ENVI file holds one cube and no variables")
    if path.suffix.lower() == ".hdr":
        header_path, data = path, data_of(path)
        if data is None:
            stem = path.with_suffix("")
            raise FileFormatError(
                f"there is no data file beside this header; expected {stem.name} with one of the endings "
                f"{', '.join(filter(None, SUFFIXES))} or none"
            )
    else:
        found = header_of(path)
        if found is None:
            raise FileFormatError(f"there is no ENVI header beside it; expected {path.with_suffix('.hdr').name}")
        header_path, data = found, path
    header = read_header(header_path)
    cube = _values(header, data)
    cube = _with_bands(cube, header)
    if "map info" in header or "coordinate system string" in header:
        cube = _with_position(cube, data)
    return remember(cube, dtype=_dtype(header))


def read_header(path: Path) -> dict[str, str]:
    """The fields of a header; names in lower case, lists with their braces.

    Raises:
        FileFormatError: It is no ENVI header.
    """
    if not is_header(path):
        raise FileFormatError(f"{path.name} is no ENVI header, it does not begin with ENVI")
    # Descriptions come in any encoding.
    lines = path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    content = "\n".join(line for line in lines if not line.lstrip().startswith(";"))
    fields = {re.sub(r"\s+", " ", name).lower(): value.strip() for name, value in _FIELD.findall(content)}
    return {name: value for name, value in fields.items() if value.strip("{} \n\t")}  # an empty list says nothing


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
            f"{bands} bands of {dtype.itemsize} bytes after {offset}); it seems incomplete, copy it again"
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
        # Compared as stored: a whole number need not survive as float32.
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
    if units.casefold() == "index":  # the axis is no wavelength
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
        logger.warning("%s: its position is left out, GDAL cannot read it: %s", data, one_line(error))
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
        raise FileFormatError(f"{name} is {header[name]!r}, expected a whole number of at least {least}")
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


FORMAT = CubeFormat(title="ENVI", read=read)
