"""Spectral response functions (SRF): the weights of narrow bands in the bands of a broad-band sensor.

Each band of a known sensor is a Gaussian of its published centre wavelength and full width at half maximum (FWHM). The
responses of any other sensor come from a table of the user.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsipipe.degradation.srf_files import (
    is_table,
    known_wavelengths,
    table_bands,
    table_identity,
    table_response,
)
from hsipipe.errors import DataError
from hsipipe.registry import unknown_name

_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True)
class SensorBand:
    """One band: name, centre and FWHM in nm."""

    name: str
    centre_nm: float
    fwhm_nm: float


def _sensor(*bands: tuple[str, float, float]) -> tuple[SensorBand, ...]:
    return tuple(SensorBand(*band) for band in bands)


# WorldView-3: half-maximum edges of the relative responses that Maxar publishes.
_WORLDVIEW3 = _sensor(
    ("coastal", 426, 46),
    ("blue", 481, 58),
    ("green", 545, 68),
    ("yellow", 604, 38),
    ("red", 660, 58),
    ("red_edge", 723, 38),
    ("nir1", 831, 120),
    ("nir2", 905.5, 85),
)

SRFS: Mapping[str, tuple[SensorBand, ...]] = {
    # A colour camera: green and blue as in a Nikon D700's relative response, red under an infrared cut filter.
    "rgb": _sensor(("red", 600, 80), ("green", 535, 85), ("blue", 463, 75)),
    # Nikon D700, relative response over 400 to 700 nm, the camera of the CAVE fusion papers. Its red has no edge of an
    # infrared cut filter: the Gaussian of smallest spectral angle extends to 700 nm, where the cube ends.
    "nikon_d700": _sensor(("red", 645, 125), ("green", 535, 85), ("blue", 460, 75)),
    # Sentinel-2A MSI, visible and near infrared: ESA, S2 MSI spectral responses (COPE-GSEG-EOPG-TN-15-0007).
    "sentinel2": _sensor(
        ("B2", 492.4, 66),
        ("B3", 559.8, 36),
        ("B4", 664.6, 31),
        ("B5", 704.1, 15),
        ("B6", 740.5, 15),
        ("B7", 782.8, 20),
        ("B8", 832.8, 106),
        ("B8A", 864.7, 21),
    ),
    # Landsat-8 OLI: Barsi et al. 2014, DOI 10.3390/rs61010232, table 1.
    "landsat8": _sensor(
        ("coastal", 443.0, 16), ("blue", 482.0, 60), ("green", 561.4, 57), ("red", 654.6, 37), ("nir", 864.7, 28)
    ),
    # IKONOS: Space Imaging, product guide (relative spectral response).
    "ikonos": _sensor(("blue", 480.3, 71.3), ("green", 550.7, 88.6), ("red", 664.8, 65.8), ("nir", 805.0, 95.4)),
    # WorldView-2: DigitalGlobe, band edges of the data sheet, but NIR2 by its published relative response: the
    # sensitivity of the detector falls off before the edge of the filter at 1040 nm.
    "worldview2": _sensor(
        ("coastal", 427, 50),
        ("blue", 478, 60),
        ("green", 546, 70),
        ("yellow", 608, 40),
        ("red", 659, 60),
        ("red_edge", 724, 40),
        ("nir1", 833, 125),
        ("nir2", 908, 92),
    ),
    "worldview3": _WORLDVIEW3,
    # Without the second near infrared: for cubes that end before it, such as those of ROSIS over Pavia.
    "worldview3_nir1": _WORLDVIEW3[:7],
}


def response(name: str, wavelengths_nm: ArrayLike, *, bands: int | None = None) -> NDArray[np.float64]:
    """Return the matrix from narrow to broad bands.

    Args:
        name: A key of `SRFS`, or the path of a table, see :func:`hsipipe.degradation.srf_files.table_response`.
        wavelengths_nm: Band centres of the cube, (C,).
        bands: C, for a table without wavelengths if those of the cube are unknown.

    Returns:
        (c, C); each row is non-negative and sums to one.

    Raises:
        UnknownNameError: The sensor is unknown.
        DataError: The cube has no wavelengths, or a band of the sensor lies outside of them.
        MissingInputError: The table does not exist.
        FileFormatError: The file is damaged or no table.
    """
    if is_table(name):
        return table_response(name, wavelengths_nm, bands=bands)
    sensor = sensor_bands(name)
    nm = known_wavelengths(name, wavelengths_nm)
    for band in sensor:
        if not _covered(band, nm):
            raise DataError(
                f"Band {band.name} of {name!r} ({band.centre_nm:g} nm, FWHM {band.fwhm_nm:g} nm) lies outside the "
                f"cube's {nm.min():g} to {nm.max():g} nm. {_advice(nm)}"
            )
    return np.stack([_row(band, nm) for band in sensor])


def band_names(name: str) -> list[str]:
    """Return the names of the bands of a sensor."""
    return table_bands(name) if is_table(name) else [band.name for band in sensor_bands(name)]


def srf_identity(name: str) -> str:
    """Return the identity of an SRF for hashes: the name of a known sensor, or the digest of a table.

    Raises:
        UnknownNameError: The sensor is unknown.
        MissingInputError: The table does not exist.
    """
    if is_table(name):
        return table_identity(name)
    sensor_bands(name)
    return name


def apply_response(matrix: NDArray[Any], cube: NDArray[Any]) -> NDArray[Any]:
    """Compute the HR-MSI (c, H, W) from the HR-HSI (C, H, W), in its dtype."""
    flat = cube.reshape(len(cube), -1)
    mixed: NDArray[Any] = matrix.astype(cube.dtype) @ flat
    return mixed.reshape(len(matrix), *cube.shape[1:])


def sensor_bands(name: str) -> tuple[SensorBand, ...]:
    """Return the bands of a sensor.

    Raises:
        UnknownNameError: The sensor is unknown; the message lists the known ones.
    """
    if name not in SRFS:
        raise unknown_name("spectral response", name, sorted(SRFS))
    return SRFS[name]


def _covered(band: SensorBand, nm: NDArray[np.float64]) -> bool:
    half = band.fwhm_nm / 2
    return bool(band.centre_nm + half >= nm.min() and band.centre_nm - half <= nm.max())


def _advice(nm: NDArray[np.float64]) -> str:
    fitting = [name for name, bands in SRFS.items() if all(_covered(band, nm) for band in bands)]
    return f"Set degradation.srf to {' or '.join(fitting)}." if fitting else "None of the known sensors fits."


def _row(band: SensorBand, nm: NDArray[np.float64]) -> NDArray[np.float64]:
    # Relative to the maximum, because a narrow band between two distant samples underflows otherwise.
    exponent = -0.5 * ((nm - band.centre_nm) / (band.fwhm_nm / _FWHM_PER_SIGMA)) ** 2
    weights = np.exp(exponent - exponent.max()) * _spacing(nm)
    return np.asarray(weights / weights.sum())


def _spacing(nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spectral width of each sample, so that denser sampling has no larger weight."""
    if nm.size < 2:
        return np.ones_like(nm)
    order = np.argsort(nm, kind="stable")
    widths = np.empty_like(nm)
    widths[order] = np.gradient(nm[order])
    # Overlapping detectors can share a wavelength.
    smallest = widths[widths > 0].min() if np.any(widths > 0) else 1.0
    return np.maximum(widths, smallest)
