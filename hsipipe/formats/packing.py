"""Store a result as the integers of its input, with the scale and the offset by which a reader gets the values back.

CF conventions 1.11, section 8.1: value = stored * scale_factor + add_offset. A TIFF has the same two numbers by band.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError, ParamsError
from hsipipe.formats.base import PACKING

SCALE, OFFSET, FILL = "scale_factor", "add_offset", "_FillValue"
"""Attributes of a packed cube."""
_UNSCALED = (".bil", ".bip", ".bsq")
_MOST_BYTES = 4


@dataclass(frozen=True)
class Packing:
    """Integers for values.

    Attributes:
        dtype: Type of the integers, such as ``int16``.
        scale: Difference of the values of neighbouring integers.
        offset: Value of the integer 0.
    """

    dtype: str
    scale: float = 1.0
    offset: float = 0.0

    @property
    def fill(self) -> int:
        """Integer without data: the smallest signed or the largest unsigned one."""
        info = np.iinfo(self.dtype)
        return int(info.min if info.min < 0 else info.max)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the packed cube."""
        return {SCALE: self.scale, OFFSET: self.offset, FILL: np.dtype(self.dtype).type(self.fill)}

    def pack(self, values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.integer[Any]], int]:
        """Round values to integers; return them, and how many values were clipped to the range.

        A value that is not finite becomes :attr:`fill`.
        """
        info, finite = np.iinfo(self.dtype), np.isfinite(values)
        low, high = (info.min + 1, info.max) if info.min < 0 else (info.min, info.max - 1)
        wanted = np.rint((np.where(finite, values, self.offset) - self.offset) / np.float64(self.scale))
        clipped = int(((wanted < low) | (wanted > high)).sum())
        stored = np.clip(wanted, low, high).astype(self.dtype)
        stored[~finite] = self.fill
        return stored, clipped

    def unpack(self, stored: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return the values float32 of integers, NaN without data."""
        values = (stored * np.float64(self.scale) + self.offset).astype(np.float32)
        values[stored == self.fill] = np.nan
        return values


def check_dtype(choice: str) -> None:
    """Check the choice of the numbers of a result.

    Raises:
        ParamsError: The choice is unknown.
    """
    if choice not in ("float32", "like-input"):
        raise ParamsError(f"--dtype must be float32 or like-input, got {choice}.")


def packing_for(cube: xr.DataArray, target: Path, choice: str) -> Packing | None:
    """Return the packing of a result of a cube; None for float32.

    Args:
        cube: The input as opened.
        target: File of the result.
        choice: ``float32``, or ``like-input``: the integers of the input with its scale and offset; floats are float32.

    Raises:
        ParamsError: The choice is unknown.
        FileFormatError: The input has a scale for each band, or the format of the result holds no scale.
    """
    check_dtype(choice)
    kind = np.dtype(cube.encoding.get("stored_dtype", "float32"))
    if choice == "float32" or kind.kind not in "iub":
        return None
    known = cube.encoding.get(PACKING)
    if known is None:
        raise FileFormatError("--dtype like-input: the input has more than one scale; leave the option out.")
    if target.suffix.lower() == ".npy" or (target.suffix.lower() in _UNSCALED and known != (1.0, 0.0)):
        raise FileFormatError(
            f"--dtype like-input: {target.name} cannot hold scale and missing values; name it .tif, .nc or .zarr."
        )
    code = "u" if kind.kind in "ub" else "i"
    size = min(kind.itemsize, _MOST_BYTES)
    # ENVI has no signed bytes.
    size = 2 if code == "i" and size == 1 and target.suffix.lower() in _UNSCALED else size
    return Packing(np.dtype(f"{code}{size}").name, *known)


def pack_cube(cube: xr.DataArray, packing: Packing) -> tuple[xr.DataArray, int]:
    """Return a cube as integers with the attributes that say how to read them, and how many values were clipped."""
    stored, clipped = packing.pack(cube.to_numpy())
    return cube.copy(data=stored).assign_attrs(packing.attributes), clipped


def packing_of(cube: xr.DataArray) -> Packing | None:
    """Return the packing of a cube that is packed already; None: its values are as they are."""
    if cube.dtype.kind not in "iu" or FILL not in cube.attrs:
        return None
    return Packing(cube.dtype.name, float(cube.attrs.get(SCALE, 1)), float(cube.attrs.get(OFFSET, 0)))
