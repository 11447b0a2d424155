"""Read the metadata of EnMAP and DESIS, products of DLR: ``X-METADATA.XML`` next to ``X-SPECTRAL_IMAGE.TIF``."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar
from xml.etree.ElementTree import Element

import dask.array as da
import numpy as np
import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import PACKING, one_packing
from hsipipe.formats.products.base import Bands, Fact, Mask, Masks, Product, assemble, scaled, told_scale
from hsipipe.formats.rasters import open_raster
from hsipipe.formats.tiff_pages import DRIVER
from hsipipe.formats.xml_files import number_in, read_xml

_IMAGE = re.compile(r"(.*)SPECTRAL_IMAGE(_COG)?", re.IGNORECASE)
_METADATA = re.compile(r"(.*)METADATA", re.IGNORECASE)
_TIFF = (".tif", ".tiff")
_ENVI = (".bsq", ".bil", ".bip")
_LEVELS = ("level", "processinglevel", "processlevel")
FILL = -32768
"""Value without data."""


@dataclass(frozen=True)
class Scene:
    """Files of one scene.

    Attributes:
        image: The spectral image.
        metadata: Its metadata.
        prefix: What the names of its files begin with.
    """

    image: Path
    metadata: Path
    prefix: str

    def layer(self, name: str) -> Path | None:
        """Return the TIFF of a quality layer, ``<prefix>QL_<name>`` in any case, or None."""
        wanted = re.compile(re.escape(f"{self.prefix}QL_{name}") + r"(_COG)?\.tiff?", re.IGNORECASE)
        return next((file for file in _files(self.image.parent) if wanted.fullmatch(file.name)), None)

    def layers(self) -> list[Path]:
        """Return the TIFFs of all quality layers."""
        start = f"{self.prefix}QL_".lower()
        return [f for f in _files(self.image.parent) if f.name.lower().startswith(start) and f.suffix.lower() in _TIFF]


@dataclass(frozen=True)
class Described:
    """Facts of ``bandCharacterisation``, (C,) each, ordered by the numbers of the bands.

    Attributes:
        numbers: Numbers of the bands, counted from 1.
        nm: Centre wavelengths in nm.
        fwhm_nm: Widths in nm, if all bands have one.
        gain: Factors of the stored values.
        offset: Offsets of the scaled values.
    """

    numbers: list[int]
    nm: Fact
    fwhm_nm: Fact | None
    gain: Fact
    offset: Fact


class DlrProduct(Product):
    """A product of level 2A in GeoTIFF or ENVI, with metadata in XML and quality layers as separate TIFFs.

    Attributes:
        SENSOR: What the names of its files begin with, in capitals.
        WIDTHS: Names of the elements with the width of a band.
    """

    SENSOR: ClassVar[str]
    WIDTHS: ClassVar[tuple[str, ...]]
    has_variables = False

    @abstractmethod
    def characterised(self, root: Element) -> list[Element]:
        """Return the elements that describe the bands; none in the metadata of another sensor."""

    @abstractmethod
    def bands(self, root: Element, described: Described) -> Bands:
        """Return wavelengths, detectors and widths of the bands, and which of them are good."""

    @abstractmethod
    def masks(self, scene: Scene, image: xr.DataArray) -> list[Mask]:
        """Return the masks of the quality layers that are there."""

    def recognises(self, path: Path) -> bool:
        """Return True for the image, the metadata, or the folder of one scene of level 2A."""
        return self._scene_of(path) is not None

    def read(self, path: Path, *, variable: str | None = None, masks: Masks = "all") -> xr.DataArray:
        """Open the reflectance lazily."""
        del variable
        scene = self._found(path)
        root = read_xml(scene.metadata)
        image, is_scaled = open_image(scene.image)
        described = describe(self.characterised(root), widths=self.WIDTHS)
        if described.numbers != list(range(1, len(image) + 1)):
            raise FileFormatError(
                f"{scene.metadata.name} describes the bands {described.numbers[0]} to {described.numbers[-1]} "
                f"({len(described.numbers)}), the image has {len(image)}; copy the scene again"
            )
        values = image.data if is_scaled else scaled(image.data, described.gain, described.offset)
        scale = "the scale of the TIFF" if is_scaled else told_scale(described.gain, described.offset)
        packing = image.encoding[PACKING] if is_scaled else one_packing(described.gain, described.offset)
        cube = assemble(
            values,
            self.bands(root, described),
            product=self.title,
            masks=masks,
            layers=[fill_mask(image), *self.masks(scene, image)],
            applied=[f"{scale} ({scene.metadata.name})"],
            dtype=image.encoding["stored_dtype"],
            packing=packing,
        )
        return with_place(cube, image)

    def files(self, path: Path) -> list[Path]:
        """List the image with its side files, the metadata and the quality layers."""
        scene = self._found(path)
        if path.is_dir():
            return super().files(path)
        return sorted({*image_files(scene.image), scene.metadata, *scene.layers()})

    def is_main(self, path: Path) -> bool:
        """Return True for the image, and for a folder of one scene."""
        scene = self._scene_of(path)
        return scene is not None and path != scene.metadata

    def _scene_of(self, path: Path) -> Scene | None:
        scene = find_scene(path)
        if scene is None:
            return None
        state = scene.metadata.stat()
        return scene if _is_of(self, scene, state.st_mtime_ns, state.st_size) else None

    def _found(self, path: Path) -> Scene:
        scene = self._scene_of(path)
        if scene is None:
            raise FileFormatError(f"not a scene of {self.title}")
        return scene


@lru_cache(maxsize=64)
def _is_of(product: DlrProduct, scene: Scene, modified_ns: int, size: int) -> bool:
    """Return True if a scene is of a product; cached until its metadata change."""
    try:
        root = read_xml(scene.metadata)
    except FileFormatError:
        return is_named(scene, product.SENSOR)  # without its scale, the image would be misread
    return bool(product.characterised(root)) and is_level_2a(scene, root)


def find_scene(path: Path) -> Scene | None:
    """Find the scene of a spectral image, of its metadata, or of a folder with one scene; None if it is incomplete.

    Names are compared without regard to case.
    """
    if path.is_dir():
        images = [file for file in _files(path) if _image(file)]
        scenes = [scene for scene in map(find_scene, images) if scene is not None]
        return scenes[0] if len(scenes) == 1 else None
    if not path.is_file():
        return None
    if (match := _image(path)) is not None:
        wanted = f"{match[1]}METADATA.XML".lower()
        found = next((file for file in _files(path.parent) if file.name.lower() == wanted), None)
        return None if found is None else Scene(path, found, match[1])
    if path.suffix.lower() == ".xml" and (match := _METADATA.fullmatch(path.stem)):
        start = match[1].lower()
        images = [f for f in _files(path.parent) if (m := _image(f)) and m[1].lower() == start]
        return Scene(images[0], path, match[1]) if len(images) == 1 else None
    return None


def is_level_2a(scene: Scene, root: Element) -> bool:
    """Return True if the metadata, or the name of the image, say level 2A."""
    levels = [(e.text or "").strip().upper() for e in root.iter() if e.tag.lower() in _LEVELS]
    return "L2A" in scene.image.name.upper() or any(re.fullmatch(r"(LEVEL.?)?L?2A", level) for level in levels)


def is_named(scene: Scene, sensor: str) -> bool:
    """Return True if the names of the files are those of a scene of level 2A of a sensor, whatever is in them."""
    name = scene.image.name.upper()
    return name.startswith(sensor) and "L2A" in name


def describe(elements: list[Element], *, widths: tuple[str, ...]) -> Described:
    """Read the facts of the bands.

    Raises:
        FileFormatError: A band has no number or no wavelength, or two have the same number.
    """
    numbered = sorted(((number_of(element) or 0, element) for element in elements), key=lambda entry: entry[0])
    numbers = [number for number, _ in numbered]
    bands = [element for _, element in numbered]
    nm = [number_in(band, "wavelengthCenterOfBand") for band in bands]
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers) or None in nm:
        raise FileFormatError("its metadata do not number the bands, or give no wavelengths; copy it again")
    fwhm = [number_in(band, *widths) for band in bands]
    gain, offset = ([number_in(band, name) for band in bands] for name in ("GainOfBand", "OffsetOfBand"))
    return Described(
        numbers,
        np.array(nm, dtype=np.float64),
        None if None in fwhm else np.array(fwhm, dtype=np.float64),
        np.array([1e-4 if value is None else value for value in gain], dtype=np.float64),
        np.array([value or 0.0 for value in offset], dtype=np.float64),
    )


def number_of(element: Element) -> int | None:
    """Return the number of a band: an attribute of EnMAP's elements, a child of DESIS's."""
    text = element.get("number")
    number = float(text) if text and text.strip().isdecimal() else number_in(element, "bandNumber")
    return int(number) if number is not None and number.is_integer() else None


def open_image(path: Path) -> tuple[xr.DataArray, bool]:
    """Open the spectral image; return also True if GDAL's scale of the file was applied, so that no other may be."""
    if path.suffix.lower() in _TIFF:
        from hsipipe.formats.geotiff import FORMAT as GEOTIFF

        cube = GEOTIFF.open(path)  # it checks the file before GDAL trusts it
        with open_raster(str(path.absolute()), driver=DRIVER) as raster:
            return cube, any(n != 1 for n in raster.scales) or any(n != 0 for n in raster.offsets)
    from hsipipe.formats.envi import FORMAT as ENVI

    return ENVI.open(path), False


def fill_mask(image: xr.DataArray) -> Mask:
    """Return the mask of the pixels without data, those that the file itself marks among them."""
    return Mask("no data", da.isnan(image.data) | (image.data == FILL), "fill")


def image_files(image: Path) -> list[Path]:
    """List the files that the general format of a spectral image reads."""
    from hsipipe.formats.envi import FORMAT as ENVI
    from hsipipe.formats.geotiff import FORMAT as GEOTIFF

    return (GEOTIFF if image.suffix.lower() in GEOTIFF.suffixes else ENVI).files(image)


def with_place(cube: xr.DataArray, image: xr.DataArray) -> xr.DataArray:
    """Give a cube the position and the attributes of the image that it was made from."""
    place = image.coords.to_dataset().drop_dims("band", errors="ignore").coords
    encoding = dict(cube.encoding)
    skipped = ("reflectance_scale_factor", "bad_bands")
    attrs = {key: value for key, value in image.attrs.items() if key not in skipped}
    cube = cube.assign_coords(place).assign_attrs({**attrs, **cube.attrs})
    cube.encoding = encoding
    return cube


def _image(path: Path) -> "re.Match[str] | None":
    return _IMAGE.fullmatch(path.stem) if path.suffix.lower() in (*_TIFF, *_ENVI) else None


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
