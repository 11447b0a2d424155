"""Endmember spectra for the synthetic scenes: reflectances of common land covers between 400 and 1000 nm.

The curves are hand-made from well-known features (chlorophyll absorption at 450 and 670 nm, the red edge
near 715 nm, the water absorption at 970 nm, iron oxides below 600 nm), not fitted to a spectral library.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.float64]

# The order matters: the layout refers to the materials by index.
MATERIALS = (
    "crop",
    "grass",
    "forest",
    "dry_stubble",
    "bright_soil",
    "dark_soil",
    "asphalt",
    "concrete",
    "red_tiles",
    "metal_roof",
    "water",
    "shadow",
)


@dataclass(frozen=True)
class _Leaf:
    """Optical properties of a leaf: chlorophyll, near-infrared plateau, red edge position, dryness."""

    chlorophyll: float
    plateau: float
    edge_nm: float
    dry: float


_LEAVES = {
    "crop": _Leaf(1.0, 0.52, 716, 0.0),
    "grass": _Leaf(0.7, 0.42, 712, 0.15),
    "forest": _Leaf(1.25, 0.33, 719, 0.0),
    "dry_stubble": _Leaf(0.12, 0.40, 706, 0.9),
}


def endmembers(wavelength_nm: Spectrum, seed: int) -> Spectrum:
    """Return the spectral library, (materials, bands); each seed varies the materials slightly.

    Args:
        wavelength_nm: Band centres in nm, (bands,).
        seed: Seed of the data set, whose scenes share the library.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    # Level and tilt vary by a few percent, as for the same cover in two regions.
    position = (wavelength_nm - 700.0) / 300.0
    library = []
    for name in MATERIALS:
        level, tilt = rng.normal(0.0, 0.04, size=2)
        library.append(_spectrum(name, wavelength_nm) * (1.0 + level + tilt * position))
    return np.asarray(np.clip(np.stack(library), 0.005, 0.9))


def _spectrum(name: str, nm: Spectrum) -> Spectrum:
    if name in _LEAVES:
        return _leaf(_LEAVES[name], nm)
    curves = {
        "bright_soil": 0.12 + 0.26 * _rise(nm, 590, 75) + 0.08 * _rise(nm, 850, 90) - 0.02 * _dip(nm, 900, 50),
        "dark_soil": 0.05 + 0.09 * _rise(nm, 640, 90) + 0.05 * _rise(nm, 880, 90),
        "asphalt": 0.085 + 0.035 * _rise(nm, 600, 140),
        "concrete": 0.24 + 0.13 * _rise(nm, 520, 70) + 0.03 * _rise(nm, 800, 120),
        "red_tiles": 0.07 + 0.30 * _rise(nm, 595, 22) + 0.06 * _rise(nm, 760, 60) - 0.03 * _dip(nm, 870, 45),
        "metal_roof": 0.30 + 0.22 * _dip(nm, 470, 55) + 0.10 * _rise(nm, 820, 80) - 0.08 * _dip(nm, 640, 60),
        "water": 0.012 + 0.055 * _dip(nm, 535, 75) * (1 - _rise(nm, 690, 25)),
        "shadow": 0.022 + 0.015 * (1 - _rise(nm, 480, 60)) + 0.02 * _rise(nm, 720, 20),
    }
    return curves[name]


def _leaf(leaf: _Leaf, nm: Spectrum) -> Spectrum:
    straw = 0.10 + 0.24 * _rise(nm, 600, 90)
    absorption = 0.85 * _dip(nm, 450, 48) + 0.95 * _dip(nm, 672, 26) + 0.35 * _dip(nm, 620, 40)
    visible = 0.13 * np.exp(-leaf.chlorophyll * 2.2 * absorption)
    infrared = (leaf.plateau - 0.1) * _rise(nm, leaf.edge_nm, 11) * (1 - 0.10 * _dip(nm, 970, 24))
    return leaf.dry * straw + (1 - leaf.dry) * (visible + infrared)


def _rise(nm: Spectrum, centre: float, width: float) -> Spectrum:
    return 1.0 / (1.0 + np.exp(-(nm - centre) / width))


def _dip(nm: Spectrum, centre: float, width: float) -> Spectrum:
    return np.exp(-0.5 * ((nm - centre) / width) ** 2)
