"""PRISMA L2D: HDF-EOS5 with the cubes of VNIR and SWIR on one map grid, each (row, band, column).

The reflectance is min + value / 65535 (max - min) with ``L2Scale{Vnir,Swir}{Min,Max}``. Bands run downwards in
wavelength; an entry of 0 in ``List_Cw_*`` is no band. 0 in all bands is no data. From memory of the product guide:
``*_PIXEL_L2_ERR_MATRIX`` is 0 for a sound value, and any other code marks a wrong one; ``List_Cw_*_Flags`` is 0 for a
band without calibration.

Documents disagree about whether the corner attributes are centres or outer corners of pixels: of both, that is taken
which makes the pixels 30 m wide. L1, L2B and L2C are images of the sensor, which the map attributes do not describe.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.georeference import attach
from hsipipe.formats.hdf5 import open_file, open_labelled
from hsipipe.formats.hdf5_access import attributes_of, find, find_dataset, look_into, open_array
from hsipipe.formats.overlap import SWIR, VNIR
from hsipipe.formats.products.base import Bands, Mask, Masks, Product, assemble, scaled, told_scale

_SWATHS = "HDFEOS/SWATHS"
_FIELDS = f"{_SWATHS}/PRS_L2D_HCO/Data Fields"
_ADVICE = (
    "level {level} of PRISMA is an image of the sensor without a map grid, expected L2D; order the L2D product, or "
    "open one detector as it is stored with variable=VNIR_Cube (--variable VNIR_Cube)"
)
_FULL = 65535.0
_PIXEL_M = 30.0
_SUFFIXES = (".he5", ".h5", ".hdf5")
_DETECTORS = {"VNIR_Cube": ("Vnir", VNIR), "SWIR_Cube": ("Swir", SWIR)}


@dataclass(frozen=True)
class _Part:
    """Values of one detector: stored and scaled (C, y, x), facts (C,), and what to tell."""

    stored: Any
    values: Any
    nm: NDArray[np.float64]
    fwhm_nm: NDArray[np.float64] | None
    good: NDArray[np.bool_]
    detector: str
    errors: Any
    told: str
    dtype: Any


class Prisma(Product):
    """PRISMA L2D."""

    title = "PRISMA L2D"

    def recognises(self, path: Path) -> bool:
        """Return True for HDF5 with swaths of PRISMA; :meth:`read` refuses those of other levels."""
        return _level_of(path) is not None

    def read(self, path: Path, *, variable: str | None = None, masks: Masks = "all") -> xr.DataArray:
        """Open the reflectance of both detectors, or of `VNIR_Cube` or `SWIR_Cube`, lazily."""
        level = _level_of(path)
        short = (variable or "").rsplit("/", 1)[-1]
        if level != "L2D" and variable is None:
            raise FileFormatError(_ADVICE.format(level=level))
        if level != "L2D" or (variable is not None and short not in _DETECTORS):
            return open_labelled(path, variable, None)
        with open_file(path) as file:
            attrs = attributes_of(file)
            chosen = [short] if variable else list(_DETECTORS)
            parts = [part for name in chosen if (part := _read_part(path, file, attrs, name)) is not None]
            shapes = {
                f"{_FIELDS}/{name}": found.shape
                for name in _DETECTORS
                if (found := find_dataset(file, f"{_FIELDS}/{name}", rank=3)) is not None
            }
        if not parts:
            raise FileFormatError(f"no {' or '.join(chosen)} with bands in {_FIELDS}; the file is damaged")
        cube = _joined(parts, masks, variable=f"{_FIELDS}/{short}" if variable else None, shapes=shapes)
        return _with_position(cube, attrs)


def _level_of(path: Path) -> str | None:
    """Return the level of a file of PRISMA, such as L2D; None for any other file."""
    return look_into(path, _SUFFIXES, _find_level)


def _find_level(file: h5py.File) -> str | None:
    swaths = find(file, _SWATHS)
    names = [name for name in swaths if name.startswith("PRS_L")] if isinstance(swaths, h5py.Group) else []
    levels = {name.split("_")[1] for name in names}
    return "L2D" if "L2D" in levels else min(levels, default=None)


def _read_part(path: Path, file: h5py.File, attrs: dict[str, Any], name: str) -> _Part | None:
    dataset = find_dataset(file, f"{_FIELDS}/{name}", rank=3)
    if dataset is None:
        return None
    key, detector = _DETECTORS[name]
    count = dataset.shape[1]
    nm = _list(attrs, f"List_Cw_{key}", count)
    if nm is None:
        raise FileFormatError(f"the root attribute List_Cw_{key} does not list {count} wavelengths; copy it again")
    kept = np.flatnonzero(nm > 0)
    if not kept.size:
        return None
    low, high = (_number(attrs, f"L2Scale{key}{end}") for end in ("Min", "Max"))
    fwhm, flags = (_list(attrs, f"List_{what}", count) for what in (f"Fwhm_{key}", f"Cw_{key}_Flags"))
    stored = _chosen(open_array(path, dataset), kept)
    matrix = find_dataset(file, f"{_FIELDS}/{key.upper()}_PIXEL_L2_ERR_MATRIX", rank=3)
    matches = matrix is not None and matrix.shape == dataset.shape
    gain = (high - low) / _FULL
    return _Part(
        stored=stored,
        values=scaled(stored, gain, low),
        nm=nm[kept],
        fwhm_nm=None if fwhm is None else fwhm[kept],
        good=np.ones(len(kept), bool) if flags is None else flags[kept] != 0,
        detector=detector,
        errors=_chosen(open_array(path, matrix), kept) != 0 if matches else None,
        told=f"{detector.upper()}: {told_scale(gain, low)}, from L2Scale{key}Min {low:g} and Max {high:g}; "
        f"{len(kept)} of {count} entries are bands",
        dtype=dataset.dtype,
    )


def _chosen(stored: da.Array, kept: NDArray[np.intp]) -> Any:
    """Bring the bands (row, band, column) to the front and choose some, by a slice where they are consecutive."""
    front = da.moveaxis(stored, 1, 0)
    whole = slice(int(kept[0]), int(kept[-1]) + 1)
    return front[whole] if len(kept) == whole.stop - whole.start else front[kept]


def _joined(
    parts: list[_Part], masks: Masks, *, variable: str | None, shapes: dict[str, tuple[int, ...]]
) -> xr.DataArray:
    planes = {part.values.shape[1:] for part in parts}
    if len(planes) > 1:
        raise FileFormatError(f"VNIR and SWIR have {planes} rows and columns, expected the same; the file is damaged")
    empty = (parts[0].stored == 0).all(axis=0)
    for part in parts[1:]:
        empty = empty & (part.stored == 0).all(axis=0)
    layers = [Mask("no data (0 in all bands)", empty, "fill")]
    if any(part.errors is not None for part in parts):
        wrong = [da.zeros_like(part.values, dtype=bool) if part.errors is None else part.errors for part in parts]
        layers.append(Mask("wrong values (PIXEL_L2_ERR_MATRIX)", da.concatenate(wrong), "defects"))
    widths = [part.fwhm_nm for part in parts if part.fwhm_nm is not None]
    return assemble(
        da.concatenate([part.values for part in parts]),
        Bands(
            np.concatenate([part.nm for part in parts]),
            [part.detector for part in parts for _ in part.nm],
            np.concatenate(widths) if len(widths) == len(parts) else None,
            np.concatenate([part.good for part in parts]),
        ),
        product=Prisma.title,
        masks=masks,
        layers=layers,
        applied=[part.told for part in parts],
        dtype=parts[0].dtype,
        variable=variable,
        variables=shapes,
    )


def _with_position(cube: xr.DataArray, attrs: dict[str, Any]) -> xr.DataArray:
    code = attrs.get("Epsg_Code")
    corners = [f"Product_{corner}corner_{axis}" for corner in ("UL", "LR") for axis in ("easting", "northing")]
    if not all(isinstance(attrs.get(key), int | float) for key in corners):
        return cube
    left, top, right, bottom = (float(attrs[key]) for key in corners)
    height, width = cube.shape[1:]
    spans = np.array([right - left, top - bottom])
    counts = np.array([width, height])
    if not np.isfinite(spans).all() or (spans <= 0).any() or (counts < 2).any():
        return cube
    of_corners, of_centres = spans / counts, spans / (counts - 1)
    are_centres = np.abs(of_centres - _PIXEL_M).sum() < np.abs(of_corners - _PIXEL_M).sum()
    step_x, step_y = (float(step) for step in (of_centres if are_centres else of_corners))
    if are_centres:
        left, top = left - step_x / 2, top + step_y / 2
    encoding = dict(cube.encoding)
    cube = attach(cube, crs=f"EPSG:{int(code)}" if code else None, transform=Affine(step_x, 0, left, 0, -step_y, top))
    cube.encoding = encoding
    cube.encoding["applied"].append(
        f"the corner attributes are taken as {'centres' if are_centres else 'outer corners'} of pixels"
    )
    return cube


def _number(attrs: dict[str, Any], key: str) -> float:
    value = attrs.get(key)
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise FileFormatError(f"the root attribute {key} is {value!r}, expected a number; copy the file again")
    return float(value)


def _list(attrs: dict[str, Any], key: str, count: int) -> NDArray[np.float64] | None:
    values = np.atleast_1d(np.asarray(attrs.get(key, [])))
    return values.astype(np.float64) if values.dtype.kind in "iuf" and values.shape == (count,) else None


PRODUCT = Prisma()
