"""EMIT L2A: NetCDF with ``reflectance`` (downtrack, crosstrack, bands) in the geometry of the sensor, fill -9999.

``sensor_band_parameters`` holds wavelengths, fwhm and good_wavelengths; ``location`` latitude and longitude. The masks
are another file, ``EMIT_L2A_MASK_*`` for ``EMIT_L2A_RFL_*``: ``mask`` with the bands cloud, cirrus, water, spacecraft
and dilated cloud, and ``band_mask``, one bit for each band, the highest first, set for an interpolated value.

An orthorectified cube repeats pixels, so super-resolve this one, and orthorectify the result by its fine latitudes and
longitudes.
"""

import logging
import re
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import one_line
from hsipipe.formats.band_facts import GOOD_BAND, with_detectors, with_good_bands
from hsipipe.formats.hdf5 import open_file, open_labelled, text, text_values
from hsipipe.formats.hdf5_access import find_dataset, look_into, open_array
from hsipipe.formats.overlap import APPLIED
from hsipipe.formats.products.base import MASKED, PRODUCT_NAME, Mask, Masks, Product, apply_masks

logger = logging.getLogger(__name__)

_VARIABLE = "reflectance"
_WAVELENGTHS = "sensor_band_parameters/wavelengths"
_DETECTOR = "vswir"
# Bands of the file of masks, counted from 0, where it does not name them; water, band 2, is not masked.
_LAYERS = ((0, "cloud flag"), (1, "cirrus flag"), (3, "spacecraft flag"), (4, "dilated cloud flag"))
_MASKED = ("cloud", "cirrus", "spacecraft")


class Emit(Product):
    """EMIT L2A reflectance."""

    title = "EMIT L2A"

    def recognises(self, path: Path) -> bool:
        """Return True for NetCDF-4 with the variables of EMIT's reflectance."""
        return bool(look_into(path, (".nc", ".nc4", ".h5"), _is_emit))

    def read(self, path: Path, *, variable: str | None = None, masks: Masks = "all") -> xr.DataArray:
        """Open the reflectance lazily; another variable is opened as it is."""
        if variable not in (None, _VARIABLE):
            return open_labelled(path, variable, None)
        cube = open_labelled(path, _VARIABLE, None)
        encoding = dict(cube.encoding)
        good = cube[GOOD_BAND].values if GOOD_BAND in cube.coords else None
        if good is None and "bad_bands" not in cube.attrs:
            good = np.ones(len(cube), dtype=bool)
        cube = with_good_bands(with_detectors(cube, [_DETECTOR] * len(cube)), good)
        found, layers = _masks(path, cube)
        no_data = Mask("no data", da.isnan(cube.data), "fill")
        cube, skipped, masked = apply_masks(cube, [no_data, *layers], masks)
        told = ["values are reflectances as stored; the fill value is NaN"]
        told.append(f"masks of {found.name}" if found else "no masks: EMIT_L2A_MASK_* is not next to it")
        told += skipped
        cube = cube.assign_attrs({PRODUCT_NAME: self.title})
        cube.encoding = {**encoding, PRODUCT_NAME: self.title, APPLIED: told, MASKED: masked}
        return cube

    def files(self, path: Path) -> list[Path]:
        """List the file and that of its masks."""
        mask = _mask_file(path)
        return sorted([path] if mask is None else [path, mask])


def _is_emit(file: h5py.File) -> bool:
    cube, wavelengths = find_dataset(file, _VARIABLE, rank=3), find_dataset(file, _WAVELENGTHS, rank=1)
    return cube is not None and wavelengths is not None and wavelengths.shape == cube.shape[2:]


def _mask_file(path: Path) -> Path | None:
    wanted = re.sub(r"_RFL_", "_MASK_", path.name, count=1, flags=re.IGNORECASE)
    found = path.with_name(wanted)
    return found if wanted != path.name and found.is_file() else None


def _masks(path: Path, cube: xr.DataArray) -> tuple[Path | None, list[Mask]]:
    file_path = _mask_file(path)
    if file_path is None:
        return None, []
    try:
        with open_file(file_path) as file:
            layers = _layers(file_path, file, cube)
    except Exception as error:  # h5py raises errors of any type for a damaged file
        logger.warning("the masks %s are ignored: %s", file_path, one_line(error))
        return None, []
    if not layers:
        logger.warning("the masks %s are ignored: they are not of %s rows and columns", file_path, cube.shape[1:])
        return None, []
    return file_path, layers


def _layers(path: Path, file: h5py.File, cube: xr.DataArray) -> list[Mask]:
    found = []
    flags = find_dataset(file, "mask", rank=3)
    if flags is not None and flags.shape[:2] == cube.shape[1:] and flags.shape[2] > _LAYERS[-1][0]:
        lazy = open_array(path, flags)
        listed = _named_layers(find_dataset(file, "sensor_band_parameters/mask_bands"), flags.shape[2])
        found = [Mask(f"{name} (mask)", lazy[:, :, band] > 0, "clouds") for band, name in listed or _LAYERS]
    packed = find_dataset(file, "band_mask", rank=3)
    bits = -(-len(cube) // 8)
    if packed is not None and packed.shape == (*cube.shape[1:], bits) and packed.dtype == np.uint8:
        lazy = open_array(path, packed).rechunk({2: -1})
        where = lazy.map_blocks(_unpacked, len(cube), dtype=bool, chunks=(*lazy.chunks[:2], (len(cube),)))
        found.append(Mask("interpolated values (band_mask)", da.moveaxis(where, 2, 0), "defects"))
    return found


def _named_layers(names: h5py.Dataset | None, count: int) -> list[tuple[int, str]]:
    """Return the bands to mask by their names, counted from 0, and the names; empty if there are no names."""
    words = None if names is None else text_values(names)
    if words is None or words.shape != (count,):
        return []
    plain = [" ".join(text(word).lower().split()) for word in words.tolist()]
    return [(band, name) for band, name in enumerate(plain) if "flag" in name and any(key in name for key in _MASKED)]


def _unpacked(packed: NDArray[np.uint8], count: int) -> Any:
    return np.unpackbits(packed, axis=-1, count=count).astype(bool)


PRODUCT = Emit()
