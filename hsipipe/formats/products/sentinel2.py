"""Sentinel-2 L2A: a SAFE folder, or a folder of one COG for each band, with ``MTD_MSIL2A.xml``.

The reflectance is (value + ``BOA_ADD_OFFSET``) / ``BOA_QUANTIFICATION_VALUE`` by the metadata of the product itself;
before baseline 04.00 it states no offset. COGs without metadata are a product only if they state scale and offset.
0 is no data, and 65535 saturated (``Special_Values``). The scene classification SCL masks no data (0), defective
pixels (1), cloud shadows (3), clouds (8, 9) and thin cirrus (10).
Centres and widths are those of the spectral responses in the metadata, or else of ESA's table for Sentinel-2A.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from hsipipe.errors import FileFormatError, one_line
from hsipipe.formats.base import one_packing
from hsipipe.formats.claims import check_claim
from hsipipe.formats.georeference import attach
from hsipipe.formats.jpeg2000 import DRIVER as JPEG2000
from hsipipe.formats.jpeg2000 import check_jpeg2000
from hsipipe.formats.lazy import Box, Source, open_lazily
from hsipipe.formats.products.base import Bands, Mask, Masks, Product, assemble, logger, scaled, told_scale
from hsipipe.formats.rasters import open_raster
from hsipipe.formats.tiff_directories import check_whole
from hsipipe.formats.tiff_pages import DRIVER as GEOTIFF
from hsipipe.formats.xml_files import number_in, read_xml

_METADATA = re.compile(r"(MTD_MSIL2A|S2\w_USER_MTD_SAFL2A\w*)\.xml", re.IGNORECASE)
_FILE = re.compile(r"(?:.*[_.-])?(B\d{2}|B8A|SCL)(?:_(10|20|60)m)?\.(jp2|tiff?)", re.IGNORECASE)
_ROOT = "Level-2A_User_Product"
_DETECTOR = "msi"
_MOST_FILES = 5000
_SIZES = (10, 20, 60)
# Physical band by its id in the metadata; centre and width in nm (ESA, Sentinel-2A).
_BANDS = {
    "B01": (0, 442.7, 21.0), "B02": (1, 492.4, 66.0), "B03": (2, 559.8, 36.0), "B04": (3, 664.6, 31.0),
    "B05": (4, 704.1, 15.0), "B06": (5, 740.5, 15.0), "B07": (6, 782.8, 20.0), "B08": (7, 832.8, 106.0),
    "B8A": (8, 864.7, 21.0), "B09": (9, 945.1, 20.0), "B10": (10, 1373.5, 31.0), "B11": (11, 1613.7, 91.0),
    "B12": (12, 2202.4, 175.0),
}  # fmt: skip
_SATURATED = 65_535
_LAYERS = (
    ("no data", (0,), "fill"),
    ("defective pixels", (1,), "defects"),
    ("cloud shadows", (3,), "clouds"),
    ("clouds", (8, 9), "clouds"),
    ("thin cirrus", (10,), "clouds"),
)


@dataclass(frozen=True)
class _Stored(Source):
    """The stored values of one band."""

    path: Path
    driver: str

    def read(self, box: Box) -> NDArray[Any]:
        """Read the box."""
        _, rows, columns = box
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        with open_raster(str(self.path.absolute()), driver=self.driver) as raster:
            return np.asarray(raster.read(1, window=window))[None]


@dataclass(frozen=True)
class _Image:
    """One file: lazy values (1, y, x), its position, and the scale that GDAL has for it."""

    values: da.Array
    crs: Any
    transform: Affine
    scale: float
    offset: float


class Sentinel2(Product):
    """Sentinel-2 L2A: the bands of one pixel size, 10 m by default; `variable` names it."""

    title = "Sentinel-2 L2A"
    is_folder = True

    def recognises(self, path: Path) -> bool:
        """Return True for the folder of a product or its metadata file, with the image of a band."""
        folder = _folder_of(path)
        return folder is not None and next(_images(folder), None) is not None

    def read(self, path: Path, *, variable: str | None = None, masks: Masks = "all") -> xr.DataArray:
        """Open the reflectance lazily.

        Args:
            path: Folder or metadata file.
            variable: ``10m``, ``20m`` or ``60m``; None: the smallest pixels that there are.
            masks: As :meth:`Product.read` has it.
        """
        folder = _folder_of(path)
        if folder is None:
            raise FileFormatError("not a product of Sentinel-2 L2A")
        root = _read_metadata(folder)
        sizes = _by_size(folder)
        size = _choose_size(sizes, variable)
        names = sorted((name for name in sizes[size] if name in _BANDS), key=lambda name: _facts(root, name)[0])
        images = [_open(sizes[size][name]) for name in names]
        _check_grid(names, images)
        cube = _cube(root, names, images, masks=masks, size=size, scl=_scene_classes(sizes, size))
        cube.encoding |= {"variable": f"{size}m", "variables": _shapes(sizes, size, cube.shape)}
        encoding = dict(cube.encoding)
        cube = attach(cube, crs=images[0].crs, transform=images[0].transform)
        cube.encoding = encoding
        return cube

    def files(self, path: Path) -> list[Path]:
        """List all files of the folder."""
        return super().files(path if path.is_dir() else path.parent)

    def is_main(self, path: Path) -> bool:
        """Return True for the folder."""
        return path.is_dir()


def _folder_of(path: Path) -> Path | None:
    if path.is_dir():
        return path if _metadata_in(path) is not None or _states_scale(path) else None
    return path.parent if path.is_file() and _METADATA.fullmatch(path.name) else None


def _metadata_in(folder: Path) -> Path | None:
    files = sorted(islice(folder.iterdir(), _MOST_FILES))
    return next((file for file in files if _METADATA.fullmatch(file.name) and file.is_file()), None)


def _states_scale(folder: Path) -> bool:
    """Return True for a folder of a scene classification, so that it is of level 2A, and bands that state a scale."""
    matches = {file: _FILE.fullmatch(file.name) for file in islice(folder.iterdir(), _MOST_FILES)}
    names = {match[1].upper(): file for file, match in matches.items() if match}
    band = next((file for name, file in sorted(names.items()) if name in _BANDS), None)
    if band is None or "SCL" not in names:
        return False
    try:
        image = _open(band)
    except FileFormatError:
        return False
    return (image.scale, image.offset) != (1.0, 0.0)


def _read_metadata(folder: Path) -> Element:
    """Read the metadata of a product; an empty element, if there are none."""
    metadata = _metadata_in(folder)
    if metadata is None:
        return Element(_ROOT)
    root = read_xml(metadata)
    if root.tag != _ROOT:
        raise FileFormatError(f"{metadata.name} holds <{root.tag}>, expected <{_ROOT}>; order the L2A product")
    return root


def _images(folder: Path) -> Iterator[tuple[str, int | None, Path]]:
    """Iterate over the images of a product: band, pixel size if its name states it, and file."""
    for file in sorted(islice(folder.rglob("*"), _MOST_FILES)):
        match = _FILE.fullmatch(file.name)
        if match and file.is_file() and "QI_DATA" not in file.parts:
            yield match[1].upper(), int(match[2]) if match[2] else None, file


def _by_size(folder: Path) -> dict[int, dict[str, Path]]:
    """List the files by pixel size in m and band.

    Raises:
        FileFormatError: There are two files of a band, such as those of two tiles.
    """
    found: dict[int, dict[str, Path]] = {}
    for name, stated, file in _images(folder):
        size = stated or _pixel_size(file)
        others = found.setdefault(size, {})
        if name in others:
            raise FileFormatError(
                f"{others[name].name} and {file.name} are the same band; open a product of one tile, or keep one file"
            )
        others[name] = file
    return found


def _pixel_size(file: Path) -> int:
    image = _open(file)
    size = round(abs(image.transform.a))
    return size if size in _SIZES else 10


def _choose_size(sizes: dict[int, dict[str, Path]], variable: str | None) -> int:
    with_bands = sorted(size for size, files in sizes.items() if set(files) & set(_BANDS))
    if variable is None and with_bands:
        return with_bands[0]
    for size in with_bands:
        if variable in (f"{size}m", f"R{size}m", str(size)):
            return size
    listed = ", ".join(f"{size}m" for size in with_bands) or "none"
    raise FileFormatError(f"no images of {variable or 'a band'}; the product holds the pixel sizes {listed}")


def _open(file: Path) -> _Image:
    """Open the image of a band, or of the classes.

    Raises:
        FileFormatError: It is damaged, has several bands, or claims far more than it holds.
    """
    driver = JPEG2000 if file.suffix.lower() == ".jp2" else GEOTIFF
    if driver == JPEG2000:
        check_jpeg2000(file)
    else:
        check_whole(file)
    with open_raster(str(file.absolute()), driver=driver) as raster:
        kind, block = np.dtype(raster.dtypes[0]), raster.block_shapes[0]
        if raster.count != 1 or kind.kind not in "iu":
            raise FileFormatError(f"{file.name} has {raster.count} bands of {kind}, expected one of integers")
        check_claim(f"a block of {file.name}", block[0] * block[1] * kind.itemsize, held=file.stat().st_size)
        shape = (1, raster.height, raster.width)
        crs, transform, scale, offset = raster.crs, raster.transform, raster.scales[0], raster.offsets[0]
    stored = (1, min(block[0], shape[1]), min(block[1], shape[2]))
    source = _Stored(file, shape, kind, driver)
    return _Image(open_lazily(source, stored=stored), crs, transform, float(scale), float(offset))


def _check_grid(names: list[str], images: list[_Image]) -> None:
    for name, image in zip(names, images, strict=True):
        if image.values.shape != images[0].values.shape or image.transform != images[0].transform:
            raise FileFormatError(
                f"{name} has {image.values.shape[1:]} pixels at {image.transform[:6]}, expected "
                f"{images[0].values.shape[1:]} at {images[0].transform[:6]} as {names[0]}; copy the product again"
            )


def _cube(
    root: Element, names: list[str], images: list[_Image], *, masks: Masks, size: int, scl: da.Array | None
) -> xr.DataArray:
    stored = da.concatenate([image.values for image in images])
    facts = np.array([_facts(root, name) for name in names])
    gain, offset, told = _scale(root, names, images)
    special = _special_values(root)
    saturated = special.get("SATURATED", _SATURATED)
    layers = [
        Mask("no data", stored == special.get("NODATA", 0), "fill"),
        Mask(f"saturated values ({saturated})", stored == saturated, "defects"),
    ]
    classes = None if scl is None else _on_grid(scl, images[0].values.shape[1:])
    if classes is not None:
        for title, codes, kind in _LAYERS:
            where = _any_of(classes, codes, images[0].values.shape[1:])
            layers.append(Mask(f"{title} (SCL)", where, kind))  # type: ignore[arg-type]  # a literal of the table
    return assemble(
        scaled(stored, gain, offset),
        Bands(facts[:, 0], [_DETECTOR] * len(names), facts[:, 1], None, names),
        product=f"{Sentinel2.title}, {size} m bands",
        masks=masks,
        layers=layers,
        applied=[
            told,
            *([] if classes is not None else ["no scene classification (SCL) that fits: clouds are not masked"]),
        ],
        dtype=stored.dtype,
        packing=one_packing(gain, offset),
    )


def _scale(root: Element, names: list[str], images: list[_Image]) -> tuple[Any, Any, str]:
    """Return gain and offset of each band, and what to tell."""
    own = np.array([(image.scale, image.offset) for image in images])
    if (own != (1.0, 0.0)).any():
        return own[:, 0], own[:, 1], f"{told_scale(own[:, 0], own[:, 1])} (stated by the images themselves)"
    if not len(root):
        raise FileFormatError(
            "MTD_MSIL2A.xml is missing and not all images state their scale; put it next to the images"
        )
    divisor = next((value for e in root.iter() if (value := number_in(e, "BOA_QUANTIFICATION_VALUE"))), None)
    if divisor is None:
        divisor = next((v for e in root.iter() if (v := number_in(e, "L2A_BOA_QUANTIFICATION_VALUE"))), 10_000.0)
    added = {e.get("band_id", ""): (e.text or "0").strip() for e in root.iter("BOA_ADD_OFFSET")}
    try:
        offsets = np.array([float(added.get(str(_BANDS[name][0]), 0.0)) for name in names])
    except ValueError as error:
        raise FileFormatError("BOA_ADD_OFFSET of the metadata is not a number; copy the product again") from error
    baseline = next((e.text for e in root.iter("PROCESSING_BASELINE")), None)
    told = (
        f"{told_scale(1 / divisor, offsets / divisor)} (metadata of the product, baseline {baseline or 'not stated'})"
    )
    return np.full(len(names), 1 / divisor), offsets / divisor, told


def _special_values(root: Element) -> dict[str, int]:
    found = {}
    for element in root.iter("Special_Values"):
        value = number_in(element, "SPECIAL_VALUE_INDEX")
        if value is not None:
            found[(element.findtext("SPECIAL_VALUE_TEXT") or "").strip().upper()] = int(value)
    return found


def _facts(root: Element, name: str) -> tuple[float, float]:
    """Return centre and width of a band in nm."""
    number, centre, width = _BANDS[name]
    for element in root.iter("Spectral_Information"):
        if element.get("bandId") == str(number):
            stated = next((number_in(e, "CENTRAL") for e in element.iter("Wavelength")), None)
            measured = next((_width(e) for e in element.iter("Spectral_Response")), None)
            return stated or centre, measured or width
    return centre, width


def _width(response: Element) -> float | None:
    """Compute the width at half maximum of a response in nm, linear between its samples."""
    step = number_in(response, "STEP")
    try:
        values = np.array([float(word) for word in (response.findtext("VALUES") or "").split()])
    except ValueError:
        return None
    if step is None or len(values) < 3 or not np.isfinite(values).all() or values.max() <= 0:
        return None
    values = np.concatenate([[0.0], values, [0.0]]) / values.max()
    above = np.flatnonzero(values >= 0.5)
    first, last = above[0], above[-1]
    left = first - (values[first] - 0.5) / (values[first] - values[first - 1])
    right = last + (values[last] - 0.5) / (values[last] - values[last + 1])
    return float((right - left) * step)


def _scene_classes(sizes: dict[int, dict[str, Path]], size: int) -> Any:
    """Open the scene classification, of the same pixel size if there is one."""
    for candidate in sorted(sizes, key=lambda other: (other != size, other)):
        if "SCL" in sizes[candidate]:
            try:
                return _open(sizes[candidate]["SCL"]).values[0]
            except Exception as error:  # parsers of damaged files raise errors of any type
                logger.warning("the scene classification is ignored: %s", one_line(error))
                return None
    return None


def _on_grid(classes: da.Array, shape: tuple[int, int]) -> Any:
    """Repeat classes of larger pixels; None, with a warning, if the sizes are no multiples."""
    ratios = [n / m for n, m in zip(shape, classes.shape, strict=True)]
    if ratios[0] == ratios[1] and ratios[0] >= 1 and ratios[0].is_integer():
        times = int(ratios[0])
        return classes if times == 1 else classes.repeat(times, axis=0).repeat(times, axis=1)
    if ratios[0] == ratios[1] and (1 / ratios[0]).is_integer():
        return classes
    logger.warning("the scene classification is ignored: %s pixels, the bands have %s", classes.shape, shape)
    return None


def _any_of(classes: da.Array, codes: tuple[int, ...], shape: tuple[int, int]) -> Any:
    """Return where classes are one of some codes; a larger pixel is, if any part of it is."""
    where = classes == codes[0]
    for code in codes[1:]:
        where = where | (classes == code)
    times = classes.shape[0] // shape[0]
    return where if times == 1 else da.coarsen(np.any, where, {0: times, 1: times})


def _shapes(sizes: dict[int, dict[str, Path]], size: int, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    counts = {s: len(set(files) & set(_BANDS)) for s, files in sizes.items()}
    return {f"{s}m": (count, *(n * size // s for n in shape[1:])) for s, count in sorted(counts.items()) if count}


PRODUCT = Sentinel2()
