"""Read from an ENVI header how the numbers lie in the data file."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hsipipe.errors import FileFormatError
from hsipipe.formats.envi_header import Header, numbers, text_of, whole

TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
"""Types of numbers by their code, without a byte order."""
_COMPLEX = (6, 9)
# First bytes of formats that programs describe by an ENVI header without unpacking them.
_SIGNATURES = {
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF",
    b"\x89HDF": "HDF5", b"\x0e\x03\x13\x01": "HDF4",
    b"CDF\x01": "NetCDF", b"CDF\x02": "NetCDF", b"CDF\x05": "NetCDF",
    b"\x89PNG": "PNG", b"PK\x03\x04": "zip",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Layout of a data file.

    Attributes:
        shape: (band, y, x).
        dtype: Type of the numbers, with their byte order.
        offset: Bytes before the first number.
        interleave: "bil", "bip" or "bsq".
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    interleave: str

    @property
    def nbytes(self) -> int:
        """Return the size of the file in bytes."""
        bands, rows, columns = self.shape
        return self.offset + bands * rows * columns * self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, int, int]:
        """Return the distance in bytes to the next band, row and column."""
        (bands, rows, columns), n = self.shape, self.dtype.itemsize
        return {
            "bsq": (rows * columns * n, columns * n, n),
            "bil": (columns * n, bands * columns * n, n),
            "bip": (n, columns * bands * n, bands * n),
        }[self.interleave]


def layout_of(header: Header) -> Layout:
    """Read the layout.

    Raises:
        FileFormatError: It is no image of uncompressed real numbers, or a field is missing or wrong.
    """
    kind = text_of(header, "file type").lower()
    rows, columns, bands = (whole(header, name, least=1) for name in ("lines", "samples", "bands"))
    if "library" in kind:
        raise FileFormatError(
            f"it is no image but a spectral library, of {rows} spectra with {columns} wavelengths; expected a cube"
        )
    if whole(header, "file compression", least=0, default=0):
        raise FileFormatError("the data file is compressed (file compression = 1); unpack it and set the field to 0")
    for name in ("major frame offsets", "minor frame offsets"):
        found = numbers(header, name)
        if name in header and (found is None or found.any()):
            raise FileFormatError(f"{name} are {header[name]}, expected 0; save the file without them")
    interleave = text_of(header, "interleave").lower()
    if interleave not in ("bil", "bip", "bsq"):
        raise FileFormatError(f"interleave is {header.get('interleave', 'missing')!r}, expected bil, bip or bsq")
    offset = whole(header, "header offset", least=0, default=0)
    return Layout((bands, rows, columns), _dtype(header), offset, interleave)


def format_inside(start: bytes) -> str | None:
    """Return the name of the format that a data file with these first bytes has, if it is not raw numbers."""
    return next((name for signature, name in _SIGNATURES.items() if start.startswith(signature)), None)


def _dtype(header: Header) -> np.dtype[Any]:
    code = whole(header, "data type", least=1)
    if code in _COMPLEX:
        raise FileFormatError("the values are complex (data type 6 or 9), expected real numbers")
    if code not in TYPES:
        raise FileFormatError(f"data type is {code}, expected one of {', '.join(map(str, TYPES))}")
    order = whole(header, "byte order", least=0, default=0)
    if order not in (0, 1):
        raise FileFormatError(f"byte order is {order}, expected 0 (least significant first) or 1")
    return np.dtype(("<", ">")[order] + TYPES[code])
