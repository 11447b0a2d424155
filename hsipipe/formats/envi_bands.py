"""Read from an ENVI header what it says about the bands: wavelengths, widths, bad bands.

An odd field costs that field alone: a warning names it, and the values are read.
"""

import logging
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.band_texts import from_texts
from hsipipe.formats.base import with_wavelengths, with_widths
from hsipipe.formats.envi_header import Header, numbers, text_of, whole, words
from hsipipe.formats.wavelengths import bad_bands, centres

logger = logging.getLogger(__name__)


def with_bands(cube: xr.DataArray, header: Header) -> xr.DataArray:
    """Attach wavelengths and widths in nm, bad bands and the reflectance scale factor, where the cube has none yet."""
    count = cube.sizes["band"]
    attrs = dict(cube.attrs)
    scale = numbers(header, "reflectance scale factor", count=None)
    if scale is not None and scale.size == 1 and np.isfinite(scale[0]) and scale[0] > 0:
        attrs.setdefault("reflectance_scale_factor", float(scale[0]))
    good = numbers(header, "bbl", count=count)
    if good is not None:
        attrs.setdefault("bad_bands", bad_bands(good))
    cube = cube.assign_attrs(attrs)
    if "wavelength_nm" in cube.coords:
        return cube
    nm = _wavelengths(header, count)
    if nm is None:
        return cube
    cube = with_wavelengths(cube, nm)
    widths = _widths(header, nm)
    return cube if widths is None else with_widths(cube, widths)


def select_bands(header: Header, bands: Sequence[int]) -> Header:
    """Return a header whose lists describe some of the bands, counted from 1."""
    count = whole(header, "bands", least=1)
    if len(bands) == count:
        return header
    lists = {name: words(header, name) for name in ("wavelength", "fwhm", "bbl", "band names")}
    chosen = {name: [found[band - 1] for band in bands] for name, found in lists.items() if len(found) == count}
    return {**header, **{name: "{" + ", ".join(found) + "}" for name, found in chosen.items()}}


def ignored_values(header: Header, count: int) -> NDArray[np.float64] | None:
    """Return the value that marks pixels without data, one for all bands (1,) or one for each (C,), or None."""
    found = numbers(header, "data ignore value")
    if found is None or found.size in (1, count):
        return found
    logger.warning("the header's field 'data ignore value' is ignored: %d values for %d bands", found.size, count)
    return None


def _wavelengths(header: Header, count: int) -> NDArray[np.float64] | None:
    units = text_of(header, "wavelength units")
    if units.casefold() == "index":  # the axis is not a wavelength
        return None
    nm = None
    if "wavelength" in header and "m" in header["wavelength"].lower():  # a unit after each number
        nm = from_texts(words(header, "wavelength"))
    if nm is None and (listed := numbers(header, "wavelength", count=count)) is not None:
        try:
            nm = centres(listed, units)
        except FileFormatError as error:
            logger.warning("the header's field 'wavelength units' is not understood: %s", error)
    if nm is None and "band names" in header:
        nm = from_texts(words(header, "band names"))
    return nm if nm is not None and nm.size == count else None


def _widths(header: Header, nm: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Convert the widths, which are in the unit of the wavelengths, to nm."""
    widths = numbers(header, "fwhm", count=nm.size)
    if widths is None:
        return None
    listed = numbers(header, "wavelength", count=nm.size)
    # For wavenumbers, too: the width is nm / number times the width in cm-1.
    widths = widths if listed is None else widths * (nm / listed)
    if not (np.isfinite(widths).all() and widths.min() > 0 and widths.max() < nm.max()):
        logger.warning("the header's field 'fwhm' is ignored: %g to %g nm are no widths", widths.min(), widths.max())
        return None
    return widths
