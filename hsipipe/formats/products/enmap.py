"""EnMAP L2A: ``*-SPECTRAL_IMAGE.TIF`` (also ``_COG``) with ``*-METADATA.XML`` and quality layers as separate TIFFs.

Scale and offset of each band are ``GainOfBand`` and ``OffsetOfBand``. The bands are ordered by wavelength; the detector
of each stands in ``{vnir,swir}ProductQuality/expectedChannelsList``, lists of band numbers counted from 1. From memory
of the product guide: -32768 is no data; an empty band has the mean -1000000 and the standard deviation 0; the codes of
the quality layers (EN-PCV-ICD-2009-2).
"""

from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.formats.overlap import SWIR, VNIR
from hsipipe.formats.products.base import Bands, Mask, quality_layer
from hsipipe.formats.products.dlr import Described, DlrProduct, Scene, number_of
from hsipipe.formats.xml_files import number_in

_EMPTY_MEAN = -1_000_000
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


class EnMap(DlrProduct):
    """EnMAP L2A."""

    title = "EnMAP L2A"
    SENSOR = "ENMAP"
    WIDTHS = ("FWHMOfBand",)

    def characterised(self, root: Element) -> list[Element]:
        """Return the elements ``bandID``."""
        parent = next(root.iter("bandCharacterisation"), None)
        return [] if parent is None else list(parent.iter("bandID"))

    def bands(self, root: Element, described: Described) -> Bands:
        """Return the bands of both detectors."""
        detector, good = _detectors(root, described)
        return Bands(described.nm, detector, described.fwhm_nm, good)

    def masks(self, scene: Scene, image: xr.DataArray) -> list[Mask]:
        """Return the masks of the background, of clouds and their shadows, and of defective pixels."""
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
    return number_in(element, "stdDeviation") == 0 and number_in(element, "mean", "meanReflectance") == _EMPTY_MEAN


PRODUCT = EnMap()
