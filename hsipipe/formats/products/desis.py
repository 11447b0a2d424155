"""DESIS L2A: ``*-SPECTRAL_IMAGE.tif`` with ``*-METADATA.xml`` and quality layers as separate TIFFs.

Wavelength, width, gain and offset of each of the 235 bands stand in ``bandCharacterisation``; ``interiorOrientation``
holds elements of the same name. From memory of the product guide: -32768 is no data, the gain is 1e-4 where none is
stated, and the bands of QL_QUALITY-2 are shadow, land, snow, haze over land and over water, cloud over land and over
water, and water.
"""

from xml.etree.ElementTree import Element

import xarray as xr

from hsipipe.formats.products.base import Bands, Mask, quality_layer
from hsipipe.formats.products.dlr import Described, DlrProduct, Scene
from hsipipe.formats.xml_files import number_in

_DETECTOR = "vnir"
# Name in messages and the bands of QL_QUALITY-2, counted from 1.
_LAYERS = (("clouds", (6, 7)), ("shadows", (1,)))


class Desis(DlrProduct):
    """DESIS L2A."""

    title = "DESIS L2A"
    SENSOR = "DESIS"
    WIDTHS = ("wavelengthWidthOfBand", "FWHMOfBand")

    def characterised(self, root: Element) -> list[Element]:
        """Return the elements with a band number."""
        parent = next(root.iter("bandCharacterisation"), None)
        bands = [] if parent is None else list(parent.iter("band"))
        return [band for band in bands if number_in(band, "bandNumber") is not None]

    def bands(self, root: Element, described: Described) -> Bands:
        """Return the bands, all of one detector."""
        del root
        return Bands(described.nm, [_DETECTOR] * len(described.nm), described.fwhm_nm)

    def masks(self, scene: Scene, image: xr.DataArray) -> list[Mask]:
        """Return the masks of clouds and shadows."""
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
