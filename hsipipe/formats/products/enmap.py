"""EnMAP L2A: ``*-SPECTRAL_IMAGE.TIF`` (also ``_COG``) with ``*-METADATA.XML`` and quality layers as separate TIFFs.

Scale and offset of each band are ``GainOfBand`` and ``OffsetOfBand``. The bands are ordered by wavelength; the detector
of each stands in ``{vnir,swir}ProductQuality/expectedChannelsList``, lists of band numbers counted from 1. From memory
of the product guide: -32768 is no data; an empty band has the mean -1000000 and the standard deviation 0; the codes of
the quality layers (EN-PCV-ICD-2009-2).
"""

from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.overlap import SWIR, VNIR
from hsipipe.formats.products.base import Bands, Mask, Masks, Product, assemble, quality_layer, scaled, told_scale
from hsipipe.formats.products.dlr import (
    Described,
    Scene,
    describe,
    fill_mask,
    find_scene,
    image_files,
    is_level_2a,
    is_named,
    number_of,
    open_image,
    read_root,
    with_place,
)
from hsipipe.formats.xml_files import number_in

_EMPTY_MEAN = -1_000_000
_WIDTHS = ("FWHMOfBand",)
_SPLIT_NM = 1000.0
"""Wavelength up to which a band is VNIR where the metadata have no lists."""
# Layer, name in messages, codes that are masked, kind.
_LAYERS = (
    ("QUALITY_CLASSES", "background", (3,), "fill"),
    ("QUALITY_CLOUD", "clouds", (1,), "clouds"),
    ("QUALITY_CLOUDSHADOW", "cloud shadows", (1,), "clouds"),
    ("QUALITY_CIRRUS", "medium and thick cirrus", (2, 3), "clouds"),
)
_DEFECTIVE = 1


class EnMap(Product):
    """EnMAP L2A in GeoTIFF or ENVI."""

    title = "EnMAP L2A"
    has_variables = False

    def recognises(self, path: Path) -> bool:
        """Return True for the image, the metadata, or the folder of one scene of level 2A."""
        return _scene_of(path) is not None

    def read(self, path: Path, *, variable: str | None = None, masks: Masks = "all") -> xr.DataArray:
        """Open the reflectance lazily."""
        del variable
        scene = _found(path)
        root = read_root(scene)
        image, is_scaled = open_image(scene.image)
        bands = describe(_characterised(root), widths=_WIDTHS)
        if bands.numbers != list(range(1, len(image) + 1)):
            raise FileFormatError(
                f"{scene.metadata.name} describes the bands {bands.numbers[0]} to {bands.numbers[-1]} "
                f"({len(bands.numbers)}), the image has {len(image)}; copy the scene again"
            )
        values = image.data
        if not is_scaled:
            values = scaled(values, bands.gain, bands.offset)
        scale = "the scale of the TIFF" if is_scaled else told_scale(bands.gain, bands.offset)
        detector, good = _detectors(root, bands)
        layers = [fill_mask(image), *_masks(scene, image)]
        cube = assemble(
            values,
            Bands(bands.nm, detector, bands.fwhm_nm, good),
            product=self.title,
            masks=masks,
            layers=layers,
            applied=[f"{scale} ({scene.metadata.name})"],
            dtype=image.encoding["stored_dtype"],
        )
        return with_place(cube, image)

    def files(self, path: Path) -> list[Path]:
        """List the image with its side files, the metadata and the quality layers."""
        scene = _found(path)
        if path.is_dir():
            return super().files(path)
        return sorted({*image_files(scene.image), scene.metadata, *scene.layers()})

    def is_main(self, path: Path) -> bool:
        """Return True for the image, and for a folder of one scene."""
        scene = _scene_of(path)
        return scene is not None and path != scene.metadata


def _scene_of(path: Path) -> Scene | None:
    scene = find_scene(path)
    if scene is None:
        return None
    state = scene.metadata.stat()
    return scene if _is_enmap(scene, state.st_mtime_ns, state.st_size) else None


@lru_cache(maxsize=64)
def _is_enmap(scene: Scene, modified_ns: int, size: int) -> bool:
    try:
        root = read_root(scene)
    except FileFormatError:
        return is_named(scene, "ENMAP")  # without its scale, the image would be misread
    return bool(_characterised(root)) and is_level_2a(scene, root)


def _found(path: Path) -> Scene:
    scene = _scene_of(path)
    if scene is None:
        raise FileFormatError("not a scene of EnMAP L2A")
    return scene


def _characterised(root: Element) -> list[Element]:
    parent = next(root.iter("bandCharacterisation"), None)
    return [] if parent is None else list(parent.iter("bandID"))


def _detectors(root: Element, bands: Described) -> tuple[list[str], NDArray[np.bool_]]:
    """Return the detector of each band, and True for each band that was delivered and is not empty."""
    listed = {name: _channels(root, f"{name}ProductQuality") for name in (VNIR, SWIR)}
    number, nm = np.array(bands.numbers), bands.nm
    of = {name: np.isin(number, sorted(channels)) for name, channels in listed.items()}
    known = of[VNIR] ^ of[SWIR]
    good = of[VNIR] | of[SWIR] if known.any() else np.ones(len(number), bool)
    empty = [n for e in root.iter("bandID") if _is_empty(e) and (n := number_of(e))]
    good &= ~np.isin(number, empty)
    if not (of[VNIR].any() and of[SWIR].any()):
        return [VNIR if centre <= _SPLIT_NM else SWIR for centre in nm], good
    # A band in no list belongs to the detector of the nearest one that is listed.
    near = np.abs(nm[:, None] - nm[known][None]).argmin(axis=1)
    names = np.where(of[VNIR][known], VNIR, SWIR)
    return np.where(known, np.where(of[VNIR], VNIR, SWIR), names[near]).tolist(), good


def _channels(root: Element, parent: str) -> set[int]:
    text = next((e.findtext("expectedChannelsList") or "" for e in root.iter(parent)), "")
    return {int(word) for word in text.replace(";", ",").replace(",", " ").split() if word.isdecimal()}


def _is_empty(element: Element) -> bool:
    return number_in(element, "stdDeviation") == 0 and number_in(element, "mean") == _EMPTY_MEAN


def _masks(scene: Scene, image: xr.DataArray) -> list[Mask]:
    shape = (image.shape[1], image.shape[2])
    found = []
    for layer, name, codes, kind in _LAYERS:
        values = quality_layer(scene.layer(layer), shape)
        if values is not None:
            where = values[0] == codes[0]
            for code in codes[1:]:
                where = where | (values[0] == code)
            found.append(Mask(f"{name} (QL_{layer})", where, kind))  # type: ignore[arg-type]  # a literal of the table
    pixels = quality_layer(scene.layer("PIXELMASK"), shape, bands=len(image))
    if pixels is not None and len(pixels) == len(image):
        found.append(Mask("defective pixels (QL_PIXELMASK)", pixels == _DEFECTIVE, "defects"))
    return found


PRODUCT = EnMap()
