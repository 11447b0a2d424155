"""DESIS L2A: ``*-SPECTRAL_IMAGE.tif`` with ``*-METADATA.xml`` and quality layers as separate TIFFs.

Wavelength, width, gain and offset of each of the 235 bands stand in ``bandCharacterisation``; ``interiorOrientation``
holds elements of the same name. From memory of the product guide: -32768 is no data, the gain is 1e-4 where none is
stated, and the bands of QL_QUALITY-2 are shadow, land, snow, haze over land and over water, cloud over land and over
water, and water.
"""

from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element

import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.products.base import Bands, Mask, Masks, Product, assemble, quality_layer, scaled, told_scale
from hsipipe.formats.products.dlr import (
    Scene,
    describe,
    fill_mask,
    find_scene,
    image_files,
    is_level_2a,
    is_named,
    open_image,
    read_root,
    with_place,
)
from hsipipe.formats.xml_files import number_in

_WIDTHS = ("wavelengthWidthOfBand", "FWHMOfBand")
_DETECTOR = "vnir"
# Name in messages and the bands of QL_QUALITY-2, counted from 1.
_LAYERS = (("clouds", (6, 7)), ("shadows", (1,)))


class Desis(Product):
    """DESIS L2A in GeoTIFF."""

    title = "DESIS L2A"
    has_variables = False

    def recognises(self, path: Path) -> bool:
        """Return True for the image, the metadata, or the folder of one scene of level 2A."""
        return _scene_of(path) is not None

    def read(self, path: Path, *, variable: str | None = None, masks: Masks = "all") -> xr.DataArray:
        """Open the reflectance lazily."""
        del variable
        scene = _found(path)
        bands = describe(_characterised(read_root(scene)), widths=_WIDTHS)
        image, is_scaled = open_image(scene.image)
        values = image.data if is_scaled else scaled(image.data, bands.gain, bands.offset)
        scale = "the scale of the TIFF" if is_scaled else told_scale(bands.gain, bands.offset)
        cube = assemble(
            values,
            Bands(bands.nm, [_DETECTOR] * len(bands.nm), bands.fwhm_nm),
            product=self.title,
            masks=masks,
            layers=[fill_mask(image), *_masks(scene, image)],
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
    return scene if _is_desis(scene, state.st_mtime_ns, state.st_size) else None


@lru_cache(maxsize=64)
def _is_desis(scene: Scene, modified_ns: int, size: int) -> bool:
    try:
        root = read_root(scene)
    except FileFormatError:
        return is_named(scene, "DESIS")  # without its scale, the image would be misread
    return bool(_characterised(root)) and is_level_2a(scene, root)


def _found(path: Path) -> Scene:
    scene = _scene_of(path)
    if scene is None:
        raise FileFormatError("not a scene of DESIS L2A")
    return scene


def _characterised(root: Element) -> list[Element]:
    parent = next(root.iter("bandCharacterisation"), None)
    bands = [] if parent is None else list(parent.iter("band"))
    return [band for band in bands if number_in(band, "bandNumber") is not None]


def _masks(scene: Scene, image: xr.DataArray) -> list[Mask]:
    quality = quality_layer(scene.layer("QUALITY-2"), (image.shape[1], image.shape[2]), bands=7)
    if quality is None:
        return []
    found = []
    for name, bands in _LAYERS:
        where = quality[bands[0] - 1] > 0
        for band in bands[1:]:
            where = where | (quality[band - 1] > 0)
        found.append(Mask(f"{name} (QL_QUALITY-2)", where, "clouds"))
    return found


PRODUCT = Desis()
