"""Hyperion of EO-1, L1T: a folder with one TIFF for each band, ``EO1H*_B008_L1T.TIF``, and ``EO1H*_MTL_L1T.TXT``.

From memory of the product guide, where the text does not say otherwise: the radiance in W/(m2 sr um) is the value / 40
for VNIR, bands 1 to 70, and / 80 for SWIR; the bands 8 to 57 and 77 to 224 are calibrated. 0 in all of them is no data.
Centres: USGS, EO-1 Hyperion spectral coverage, evenly spaced to 0.1 nm in each detector; widths by the same table, to
0.05 nm. L1R is HDF4, which is not read.
"""

import re
from itertools import islice
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr

from hsipipe.errors import FileFormatError, one_line
from hsipipe.formats.overlap import SWIR, VNIR
from hsipipe.formats.products.base import Bands, Fact, Mask, Masks, Product, assemble, scaled, told_scale
from hsipipe.formats.products.dlr import with_place

_BAND = re.compile(r"(EO1H\w*?)_B(\d{3})_L1[A-Z]+\.TIFF?", re.IGNORECASE)
_TEXT = re.compile(r"(EO1H\w*?)_MTL_L1[A-Z]+\.(TXT|L1T)", re.IGNORECASE)
_HDF4 = b"\x0e\x03\x13\x01"
_LAST_VNIR, _LAST = 70, 242
_CALIBRATED = (*range(8, 58), *range(77, 225))
_ENDS_NM = {VNIR: (355.59, 1057.68), SWIR: (851.92, 2577.08)}
_SCALE = {VNIR: 40.0, SWIR: 80.0}
_MOST_TEXT_BYTES = 1 << 20
_MOST_FILES = 1000
# Widths in nm by band, linear between.
_WIDTHS_NM = {
    1: 11.3871, 13: 11.3871, 16: 11.3133, 19: 11.1119, 22: 10.8368, 25: 10.5607, 28: 10.3595, 31: 10.2856,
    34: 10.3909, 37: 10.6004, 40: 10.7058, 42: 10.7907, 45: 11.1044, 47: 11.26, 48: 11.2824, 70: 11.2754,
    71: 11.0457, 87: 11.0457, 92: 11.0218, 97: 10.9572, 102: 10.8696, 108: 10.7663, 115: 10.697, 118: 10.6949,
    123: 10.7437, 130: 10.911, 137: 11.1461, 144: 11.3753, 151: 11.5286, 155: 11.5621, 158: 11.5563, 165: 11.4279,
    169: 11.3036, 173: 11.1666, 177: 11.0424, 181: 10.9508, 184: 10.9139, 187: 10.9057, 192: 10.8591, 197: 10.7592,
    203: 10.6052, 208: 10.4904, 212: 10.4285, 216: 10.4077, 242: 10.4077,
}  # fmt: skip


class Hyperion(Product):
    """Folder of the bands of one scene of Hyperion."""

    title = "Hyperion L1T"
    is_folder = True
    has_variables = False

    def recognises(self, path: Path) -> bool:
        """Return True for a folder of the bands of a scene, and for its text file.

        Raises:
            FileFormatError: The file is HDF4.
        """
        if path.is_dir():
            return len(_bands_in(path)) > 1
        if not path.is_file():
            return False
        if path.suffix.lower() in (".l1r", ".hdf") and _is_hdf4(path):
            raise FileFormatError(
                "HDF4 is not read; order the L1T product, or convert it: gdal_translate -of GTiff IN OUT.tif"
            )
        return _TEXT.fullmatch(path.name) is not None and len(_bands_in(path.parent)) > 1

    def read(self, path: Path, *, variable: str | None = None, masks: Masks = "all") -> xr.DataArray:
        """Open the radiance lazily."""
        del variable
        folder = path if path.is_dir() else path.parent
        files = _bands_in(folder)
        scale, source = _scales(folder)
        images = _open(files)
        numbers = np.array(list(files))
        stored = da.concatenate([image.data for image in images])
        detector = [VNIR if number <= _LAST_VNIR else SWIR for number in files]
        good = np.isin(numbers, _CALIBRATED)
        gain = np.array([1 / scale[name] for name in detector])
        tested = stored[np.flatnonzero(good)] if good.any() else stored
        layers = [
            Mask(
                "no data (0 in all calibrated bands)", da.isnan(tested).all(axis=0) | (tested == 0).all(axis=0), "fill"
            )
        ]
        cube = assemble(
            scaled(stored, gain),
            Bands(_centres(numbers), detector, _widths(numbers), good, [f"B{number:03d}" for number in files]),
            product=self.title,
            masks=masks,
            layers=layers,
            applied=[
                f"{told_scale(gain, 0.0, unit='radiance in W/(m2 sr um)')}: value / {scale[VNIR]:g} VNIR, "
                f"/ {scale[SWIR]:g} SWIR ({source})",
                f"the bands 8 to 57 and 77 to 224 are calibrated, the others are marked as bad; {int(good.sum())} of "
                f"{len(_CALIBRATED)} are there",
            ],
            dtype=images[0].encoding["stored_dtype"],
        )
        return with_place(cube, images[0]).assign_attrs(units="W/(m2 sr um)")

    def files(self, path: Path) -> list[Path]:
        """List all files of the folder of the scene."""
        return super().files(path if path.is_dir() else path.parent)

    def is_main(self, path: Path) -> bool:
        """Return True for the folder."""
        return path.is_dir()


def _is_hdf4(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == _HDF4


def _bands_in(folder: Path) -> dict[int, Path]:
    """List the files of the bands of one scene by their number; empty if there are none, or those of two scenes."""
    found: dict[int, Path] = {}
    scenes = set()
    for file in sorted(islice(folder.iterdir(), _MOST_FILES)):
        match = _BAND.fullmatch(file.name)
        if match and file.is_file() and 1 <= int(match[2]) <= _LAST:
            scenes.add(match[1].upper())
            found[int(match[2])] = file
    return dict(sorted(found.items())) if len(scenes) == 1 else {}


def _open(files: dict[int, Path]) -> list[xr.DataArray]:
    from hsipipe.formats.geotiff import FORMAT

    images: list[xr.DataArray] = []
    for file in files.values():
        try:
            images.append(FORMAT.open(file))
        except FileFormatError as error:
            raise FileFormatError(f"{file.name} cannot be read: {one_line(error)}") from error
        if images[-1].shape != (1, *images[0].shape[1:]):
            raise FileFormatError(
                f"{file.name} has the shape {images[-1].shape}, expected {(1, *images[0].shape[1:])}; copy it again"
            )
    return images


def _scales(folder: Path) -> tuple[dict[str, float], str]:
    """Return the scale factors of both detectors, and their source."""
    for file in sorted(islice(folder.iterdir(), _MOST_FILES)):
        if _TEXT.fullmatch(file.name) and file.is_file() and file.stat().st_size <= _MOST_TEXT_BYTES:
            text = file.read_text("utf-8", "replace")
            found = {name: re.search(rf"SCALING_FACTOR_{name.upper()}\s*=\s*([\d.]+)", text) for name in _SCALE}
            numbers = {name: _positive(match[1]) if match else 0.0 for name, match in found.items()}
            if all(numbers.values()):
                return numbers, file.name
    return dict(_SCALE), "the usual factors; no *_MTL_L1T.TXT states them"


def _positive(text: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0


def _centres(numbers: Fact) -> Fact:
    vnir = np.linspace(*_ENDS_NM[VNIR], _LAST_VNIR)
    swir = np.linspace(*_ENDS_NM[SWIR], _LAST - _LAST_VNIR)
    nm: Fact = np.round(np.concatenate([vnir, swir])[numbers - 1], 2)
    return nm


def _widths(numbers: Fact) -> Fact:
    return np.round(np.interp(numbers, list(_WIDTHS_NM), list(_WIDTHS_NM.values())), 4)


PRODUCT = Hyperion()
