"""Tanager: HDF-EOS5 with one cube (band, y, x), as a grid (ortho products) or as a swath (basic products).

Wavelengths, widths and good wavelengths are attributes of the cube, or data sets next to it, with names in any case.
A cube of another name is read if it is the only one. One stored as (y, x, band) is found by its number of wavelengths.
The position of a grid stands in the text ``StructMetadata.0``; a swath has latitudes and longitudes. The fill value is
``_FillValue``.
"""

from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.georeference import attach
from hsipipe.formats.hdf5 import open_file, open_labelled
from hsipipe.formats.hdf5_access import attributes_of, find, find_dataset, look_into, open_array, vector
from hsipipe.formats.hdf_eos import grid_of
from hsipipe.formats.products.base import Bands, Mask, Masks, Product, assemble, scaled, told_scale
from hsipipe.formats.wavelengths import centres, in_nm

_PLACES = ("HDFEOS/GRIDS/HYP", "HDFEOS/SWATHS/HYP")
_CUBES = ("surface_reflectance", "toa_radiance")
_WAVELENGTHS = ("wavelengths", "wavelength")
_DETECTOR = "vswir"
_LAYERS = (
    ("nodata_pixels", "no data", "fill"),
    ("beta_cloud_mask", "clouds", "clouds"),
    ("beta_cirrus_mask", "cirrus", "clouds"),
)
_SUFFIXES = (".h5", ".hdf5", ".he5")


class Tanager(Product):
    """Tanager surface reflectance or radiance, basic or ortho."""

    title = "Tanager"

    def recognises(self, path: Path) -> bool:
        """Return True for HDF5 with the cube of a Tanager product."""
        return look_into(path, _SUFFIXES, lambda file: _find(file, None)) is not None

    def read(self, path: Path, *, variable: str | None = None, masks: Masks = "all") -> xr.DataArray:
        """Open the reflectance lazily, without it the radiance; open another variable as stored."""
        with open_file(path) as file:
            found = _find(file, variable)
            if found is None:
                return open_labelled(path, variable, None)
            place, name = found
            dataset = file[name]
            attrs = attributes_of(dataset)
            axis = _band_axis(file, dataset, attrs, place)
            stored = da.moveaxis(open_array(path, dataset), axis, 0)
            cube = assemble(
                *_values(file, stored, attrs, place),
                product=f"{self.title}, {name.rsplit('/', 1)[-1]}",
                masks=masks,
                layers=_masks(path, file, stored, attrs, place),
                applied=[_told(attrs)],
                dtype=dataset.dtype,
                variable=name,
                variables={name: dataset.shape},
            )
            return _with_position(path, file, cube, place)


def _find(file: h5py.File, variable: str | None) -> tuple[str, str] | None:
    """Return the path of the group and that of the cube."""
    short = (variable or "").rsplit("/", 1)[-1]
    for cube in _CUBES:
        for place in _PLACES:
            name = f"{place}/Data Fields/{cube}"
            dataset = find_dataset(file, name, rank=3)
            if dataset is not None and short in ("", cube):
                return place, name
    return _only_cube(file, short)


def _only_cube(file: h5py.File, short: str) -> tuple[str, str] | None:
    """Return the group and the path of the cube of another name, if there is one and no other."""
    found = []
    for place in _PLACES:
        fields = find(file, f"{place}/Data Fields")
        names = fields if isinstance(fields, h5py.Group) else []
        cubes = [name for name in names if find_dataset(fields, name, rank=3) is not None and short in ("", name)]
        found += [(place, f"{place}/Data Fields/{name}") for name in cubes]
    return found[0] if len(found) == 1 else None


def _band_axis(file: h5py.File, dataset: h5py.Dataset, attrs: dict[str, Any], place: str) -> int:
    """Return the axis with as many entries as there are wavelengths, the first if several have."""
    for axis in (0, 2, 1):
        if _fact(file, attrs, place, _WAVELENGTHS, dataset.shape[axis]) is not None:
            return axis
    raise FileFormatError(
        f"{dataset.name} has no {dataset.shape[0]} wavelengths, as attribute or data set; copy it again"
    )


def _values(file: h5py.File, stored: da.Array, attrs: dict[str, Any], place: str) -> tuple[Any, Bands]:
    count = len(stored)
    nm = _fact(file, attrs, place, _WAVELENGTHS, count)
    units = str(attrs.get("wavelengths_units", attrs.get("wavelength_units", "")))
    centre = centres(nm, units or None)
    if centre is None:
        raise FileFormatError(f"the wavelengths {nm.min():g} to {nm.max():g} are none; copy the file again")
    fwhm = _fact(file, attrs, place, ("fwhm", "fwhms"), count)
    if fwhm is not None:
        # Without a unit, the widths are in that of the wavelengths.
        said = str(attrs.get("fwhm_units", ""))
        fwhm = in_nm(fwhm, said) if said else fwhm * (centre / nm)
    good = _fact(file, attrs, place, ("good_wavelengths", "good_wavelength"), count)
    gain, offset = _packing(attrs)
    values = scaled(stored, gain, offset) if (gain, offset) != (1.0, 0.0) else stored.astype(np.float32)
    return values, Bands(centre, [_DETECTOR] * count, fwhm, None if good is None else good != 0)


def _packing(attrs: dict[str, Any]) -> tuple[float, float]:
    gain, offset = attrs.get("scale_factor", 1.0), attrs.get("add_offset", 0.0)
    if not all(isinstance(number, int | float) for number in (gain, offset)) or gain == 0:
        raise FileFormatError(f"scale_factor is {gain!r} and add_offset {offset!r}, expected numbers; copy it again")
    return float(gain), float(offset)


def _told(attrs: dict[str, Any]) -> str:
    packing = _packing(attrs)
    scale = "values as stored" if packing == (1.0, 0.0) else told_scale(*packing, unit="value")
    fill = attrs.get("_FillValue")
    return scale if fill is None else f"{scale}; the fill value {fill:g} is NaN"


def _fact(file: h5py.File, attrs: dict[str, Any], place: str, names: tuple[str, ...], count: int) -> Any:
    """Return a vector, an attribute of the cube or a data set of its group, (C,), or None."""
    plain = {key.lower(): value for key, value in attrs.items()}
    for name in names:
        values = np.atleast_1d(np.asarray(plain.get(name, [])))
        if values.dtype.kind in "iufb" and values.shape == (count,):
            return values.astype(np.float64)
    for folder in ("Data Fields", "Geolocation Fields", ""):
        group = find(file, f"{place}/{folder}")
        members = {key.lower(): key for key in group} if isinstance(group, h5py.Group) else {}
        for name in names:
            found = vector(find_dataset(group, members[name]), size=count) if name in members else None
            if found is not None:
                return found
    return None


def _masks(path: Path, file: h5py.File, stored: da.Array, attrs: dict[str, Any], place: str) -> list[Mask]:
    found = []
    fill = attrs.get("_FillValue")
    if isinstance(fill, int | float):
        where = da.isnan(stored) if fill != fill else stored == stored.dtype.type(fill)
        found.append(Mask(f"fill {fill:g}", where, "fill"))
    for name, title, kind in _LAYERS:
        layer = find_dataset(file, f"{place}/Data Fields/{name}", rank=2)
        if layer is not None and layer.shape == stored.shape[1:]:
            where = open_array(path, layer) == 1
            found.append(Mask(f"{title} ({name})", where, kind))  # type: ignore[arg-type]  # a literal of the table
    return found


def _with_position(path: Path, file: h5py.File, cube: xr.DataArray, place: str) -> xr.DataArray:
    encoding = dict(cube.encoding)
    if "GRIDS" in place:
        grid = grid_of(file, place.rsplit("/", 1)[-1])
        crs = None if grid is None else grid.crs
        entry = find(file, place)
        code = attributes_of(entry).get("epsg_code") if entry is not None else None
        if crs is None and isinstance(code, int | float) and code > 0:
            crs = f"EPSG:{int(code)}"
        cube = attach(cube, crs=crs, transform=None if grid is None else grid.transform)
    else:
        for name in ("Latitude", "Longitude"):
            field = find_dataset(file, f"{place}/Geolocation Fields/{name}", rank=2)
            if field is not None and field.shape == cube.shape[1:]:
                cube = cube.assign_coords({name.lower(): (("y", "x"), open_array(path, field))})
    cube.encoding = encoding
    return cube


PRODUCT = Tanager()
