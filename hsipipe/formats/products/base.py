"""Base class of the sensor products, and how each becomes a cube: bands, scale, masks, and what was applied."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError, ParamsError, one_line
from hsipipe.formats.band_facts import with_detectors, with_good_bands, with_names
from hsipipe.formats.base import CubeFormat, make_cube, remember, with_wavelengths, with_widths
from hsipipe.formats.claims import check_sides
from hsipipe.formats.overlap import APPLIED

logger = logging.getLogger(__name__)

Masks = Literal["all", "defects", "fill"]
MASKS: tuple[Masks, ...] = get_args(Masks)
PRODUCT_NAME = "product"
"""Attribute of the cube, and key of ``cube.encoding``, with the name of the product."""
MASKED = "masked"
"""Key of ``cube.encoding``: name of a mask -> lazy booleans (y, x) or (band, y, x), True where pixels became NaN."""
Fact = NDArray[np.float64]
Masked = dict[str, Any]


def check_masks(masks: str) -> None:
    """Check the name of a choice of masks.

    Raises:
        ParamsError: The name is unknown.
    """
    if masks not in MASKS:
        raise ParamsError(f"masks is {masks!r}, expected one of {', '.join(MASKS)}.")


@dataclass(frozen=True)
class Bands:
    """Facts about the bands of a product, (C,) each.

    Attributes:
        nm: Centre wavelengths in nm.
        detector: Name of the detector of each band, ``vnir`` or ``swir`` where there are two.
        fwhm_nm: Full widths at half maximum in nm, if known.
        good: False for a band that the product marks as unusable.
        names: Names of the bands, if they have any.
    """

    nm: Fact
    detector: Sequence[str]
    fwhm_nm: Fact | None = None
    good: NDArray[np.bool_] | None = None
    names: Sequence[str] | None = None


@dataclass(frozen=True)
class Mask:
    """Pixels to mask.

    Attributes:
        name: Name in messages, such as "clouds".
        where: Lazy booleans (y, x) or (C, y, x), True for a pixel to mask.
        kind: ``fill``: no data; ``defects``: values that the product calls wrong; ``clouds``: clouds and their shadows.
    """

    name: str
    where: Any
    kind: Literal["fill", "defects", "clouds"]


class Product(CubeFormat):
    """Product of a sensor: files in a published layout.

    A subclass implements :meth:`recognises`, which must not raise for files of other layouts, and :meth:`read`.
    """

    @abstractmethod
    def read(self, path: Path, *, variable: str | None = None, masks: Masks = "all") -> xr.DataArray:
        """Open the cube lazily, (band, y, x) by ascending wavelength, NaN where masked.

        Args:
            path: File or folder that :meth:`recognises` accepts.
            variable: Part of the product to read; None: all that is one cube.
            masks: ``fill``: pixels without data become NaN; ``defects``: those that the product calls wrong, too;
                ``all``: clouds and their shadows, too.

        Raises:
            FileFormatError: The product is damaged, or of a kind that is not read.
        """

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube lazily with all masks; `bands` has no effect."""
        return self.read(path, variable=variable)


def assemble(
    values: Any,
    bands: Bands,
    *,
    product: str,
    masks: Masks,
    layers: Sequence[Mask] = (),
    applied: Sequence[str] = (),
    dtype: Any,
    variable: str | None = None,
    variables: dict[str, tuple[int, ...]] | None = None,
    packing: tuple[float, float] | None = None,
) -> xr.DataArray:
    """Make the cube of a product.

    Args:
        values: Lazy scaled values (C, y, x), NaN where there is no data.
        bands: Facts about the bands.
        product: Name of the product.
        masks: Masks to apply.
        layers: Masks of the product.
        applied: What was applied to the stored values, one sentence each.
        dtype: Type of the stored numbers.
        variable: Name of the array in the file.
        variables: Shapes of the arrays in the file.
        packing: Scale and offset that were applied to all bands; None: not the same for all.

    Raises:
        FileFormatError: The number of bands and that of their facts differ.
    """
    check_sides(product, values.shape)
    if len(bands.nm) != values.shape[0]:
        raise FileFormatError(f"it describes {len(bands.nm)} bands, its image has {values.shape[0]}; copy it again")
    chosen, skipped = _choose(layers, masks)
    for layer in chosen:
        values = da.where(layer.where, values.dtype.type(np.nan), values)
    cube = with_wavelengths(make_cube(values), bands.nm)
    if bands.fwhm_nm is not None:
        cube = with_widths(cube, bands.fwhm_nm)
    cube = with_detectors(with_names(cube, bands.names), bands.detector)
    cube = with_good_bands(cube, np.ones(len(bands.nm), dtype=bool) if bands.good is None else bands.good)
    masked = {layer.name: layer.where for layer in chosen}
    if (np.diff(bands.nm) < 0).any():
        order = np.argsort(bands.nm, kind="stable")
        step = slice(None, None, -1) if (np.diff(bands.nm) < 0).all() else order
        cube = with_good_bands(cube.isel(band=step), cube["good_band"].values[order])
        masked = {name: where[step] if where.ndim == 3 else where for name, where in masked.items()}
    cube = cube.assign_attrs({PRODUCT_NAME: product})
    remember(cube, dtype=dtype, variable=variable, variables=variables, packing=packing)
    cube.encoding |= {PRODUCT_NAME: product, APPLIED: [*applied, *skipped], MASKED: masked}
    return cube


def apply_masks(cube: xr.DataArray, layers: Sequence[Mask], masks: Masks) -> tuple[xr.DataArray, list[str], Masked]:
    """Apply masks to a lazy cube; return also what to tell, and the masks that were applied."""
    chosen, skipped = _choose(layers, masks)
    values = cube.data
    for layer in chosen:
        values = da.where(layer.where, np.float32(np.nan), values)
    return cube.copy(data=values), skipped, {layer.name: layer.where for layer in chosen}


def _choose(layers: Sequence[Mask], masks: Masks) -> tuple[list[Mask], list[str]]:
    """Return the masks to apply, and what to tell about the others."""
    kinds = {"fill": ("fill",), "defects": ("fill", "defects"), "all": ("fill", "defects", "clouds")}[masks]
    skipped = [layer.name for layer in layers if layer.kind not in kinds]
    told = [f"not masked by choice: {', '.join(skipped)}"] if skipped else []
    return [layer for layer in layers if layer.kind in kinds], told


def scaled(values: Any, gain: Any, offset: Any = 0.0) -> Any:
    """Compute ``values * gain + offset`` in double precision; gain and offset are numbers or one for each band (C,)."""
    gain, offset = (np.asarray(number, dtype=np.float64) for number in (gain, offset))
    if gain.ndim or offset.ndim:
        gain, offset = (np.broadcast_to(n, values.shape[:1])[:, None, None] for n in (gain, offset))
    return (values.astype(np.float64) * gain + offset).astype(np.float32)


def told_scale(gain: Any, offset: Any, *, unit: str = "reflectance") -> str:
    """Describe a scale and an offset for a person."""
    spans = []
    for number in (np.atleast_1d(gain), np.atleast_1d(offset)):
        low, high = float(number.min()), float(number.max())
        spans.append(f"{low:g}" if low == high else f"{low:g} to {high:g}")
    return f"{unit} = value x {spans[0]}" + ("" if spans[1] == "0" else f" + ({spans[1]})")


def quality_layer(path: Path | None, shape: tuple[int, int], *, bands: int = 1) -> Any:
    """Open a quality layer next to a product lazily, (C, y, x); None, with a warning, if it does not fit.

    Args:
        path: TIFF; None: there is none.
        shape: Rows and columns of the product.
        bands: Least number of its bands.
    """
    from hsipipe.formats.geotiff import FORMAT

    if path is None:
        return None
    try:
        layer = FORMAT.open(path)
    except Exception as error:  # parsers of damaged files raise errors of any type
        logger.warning("the quality layer %s is ignored: %s", path, one_line(error))
        return None
    if layer.shape[1:] != shape or len(layer) < bands:
        logger.warning("the quality layer %s is ignored: %s, expected %d bands of %s", path, layer.shape, bands, shape)
        return None
    return layer.data
