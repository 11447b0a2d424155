"""Cubes inside xarray datasets: what NetCDF and Zarr share."""

from typing import Any

import numpy as np
import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import DIMS, bands_first, pick_variable, with_wavelengths

_ALIASES = {
    "band": (
        "band",
        "bands",
        "msi_band",
        "wavelength",
        "wavelengths",
        "wavelength_nm",
        "lambda",
        "spectral",
        "channel",
    ),
    "y": ("y", "y_lr", "row", "rows", "line", "lines", "lat", "latitude", "northing"),
    "x": ("x", "x_lr", "col", "cols", "column", "columns", "sample", "samples", "lon", "longitude", "easting"),
}
_WAVELENGTHS = ("wavelength_nm", "wavelength", "wavelengths")
_UNITS = {
    1.0: ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    # Case-folding turns the micro sign into the Greek letter, so both spellings meet here.
    1e3: ("um", "μm", "micrometer", "micrometers", "micrometre", "micrometres", "micron", "microns"),
    1e9: ("m", "meter", "meters", "metre", "metres"),
}
_TO_NM = {unit: factor for factor, units in _UNITS.items() for unit in units}


def cube_of(dataset: xr.Dataset, variable: str | None) -> xr.DataArray:
    """The cube of a dataset with dims (band, y, x), float32, and its wavelengths in nm.

    Raises:
        FileFormatError: It holds no cube, or several; or its axes or the unit of its wavelengths are unclear.
    """
    arrays = {str(name): array for name, array in dataset.variables.items()}
    name = pick_variable({key: array.shape for key, array in arrays.items()}, variable)
    cube = dataset[name]
    if cube.ndim != 3:
        raise FileFormatError(f"variable {name!r} has rank {cube.ndim}, expected 3")
    cube = _rename(cube).astype(np.float32)
    wavelengths = _wavelengths(dataset, cube)
    return cube if wavelengths is None else with_wavelengths(cube, wavelengths)


def to_dataset(cube: xr.DataArray) -> tuple[xr.Dataset, str]:
    """The dataset to write for a cube, and the name of the cube in it."""
    name = str(cube.name) if cube.name else "reflectance"
    if name in cube.coords:
        name = f"{name}_values"
    clean = cube.drop_encoding()
    return clean.to_dataset(name=name), name


def _rename(cube: xr.DataArray) -> xr.DataArray:
    targets = [next((key for key, names in _ALIASES.items() if str(dim).lower() in names), None) for dim in cube.dims]
    if set(targets) == set(DIMS):
        changed = {old: new for old, new in zip(cube.dims, targets, strict=True) if old != new}
        return cube.rename(changed).transpose(*DIMS)
    if any(targets):
        raise FileFormatError(
            f"the axes {', '.join(map(str, cube.dims))} are not clearly band, y and x; rename them to that"
        )
    # Unnamed axes: only their lengths can tell.
    moved = bands_first(np.empty(cube.shape, dtype=bool)).shape
    order = cube.dims if moved == cube.shape else (cube.dims[2], cube.dims[0], cube.dims[1])
    return xr.DataArray(cube.transpose(*order).data, dims=DIMS, attrs=cube.attrs)


def _wavelengths(dataset: xr.Dataset, cube: xr.DataArray) -> Any:
    for name in _WAVELENGTHS:
        if name in dataset.variables and dataset[name].size == cube.sizes["band"]:
            units = str(dataset[name].attrs.get("units", "nm"))
            factor = _TO_NM.get(units.strip().casefold())
            if factor is None:
                raise FileFormatError(f"{name!r} is in {units!r}, expected nm, um or m; convert it and set its units")
            return np.asarray(dataset[name].values, dtype=np.float64).ravel() * factor
    stored = cube.attrs.get("wavelength_nm")
    return stored if stored is not None and np.size(stored) == cube.sizes["band"] else None
