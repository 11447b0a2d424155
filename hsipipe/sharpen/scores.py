"""Scores of a candidate in a region, and its gain over interpolation by group of bands."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask
from hsipipe.artifacts.views import ScoredPixels
from hsipipe.errors import DataError
from hsipipe.evaluation.metrics import ROUNDING, band_mse, band_psnr_db, ergas, mpsnr_db, sam_deg
from hsipipe.inference.plan import Box
from hsipipe.sharpen.reduced import Image, Reduced

GROUPS_NM = {
    "blue": (0.0, 500.0),
    "green": (500.0, 600.0),
    "red": (600.0, 700.0),
    "NIR": (700.0, 1000.0),
    "SWIR": (1000.0, np.inf),
}
"""Groups of bands: first wavelength in nm, and the end."""
_LEAST_MSE = 1e-12
"""Error of a band that is restored exactly, 120 dB."""


@dataclass(frozen=True, eq=False)
class Score:
    """Scores in one region.

    Attributes:
        metrics: ``mpsnr_db``, ``sam_deg`` and ``ergas`` over the pixels with data.
        band_psnr_db: PSNR of each band (C,) in dB; NaN of one that is not scored.
    """

    metrics: Mapping[str, float]
    band_psnr_db: NDArray[np.float64]

    @property
    def mpsnr_db(self) -> float:
        """Mean PSNR over the bands in dB."""
        return self.metrics["mpsnr_db"]


def score_box(sr: Image, reduced: Reduced, box: Box) -> Score:
    """Score the prediction (C, H, W) of a scene in a box of it."""
    return score_valid(sr[box.slices()], reduced.hr[box.slices()], reduced.valid[box.slices()[1:]], scale=reduced.scale)


def score_valid(sr: Image, hr: Image, valid: Mask, *, scale: int) -> Score:
    """Score the pixels with data, as the evaluation does; MPSNR and ERGAS of the :func:`scored_bands`, NaN without any.

    The PSNR of a band is at most 120 dB.

    Args:
        sr: Prediction (C, H, W), full range 1.0.
        hr: Truth (C, H, W).
        valid: True for data (H, W).
        scale: Ratio of the pixel sizes s, for ERGAS.

    Raises:
        DataError: No pixel has data.
    """
    if not valid.any():
        raise DataError(f"None of the {valid.shape[0]} x {valid.shape[1]} pixels has data in every band.")
    scored = scored_bands(hr, valid)
    ours, truth = ScoredPixels(sr, valid), ScoredPixels(hr, valid)
    mse = np.maximum(band_mse(ours, truth), _LEAST_MSE)
    values = {"mpsnr_db": math.nan, "sam_deg": sam_deg(ours, truth), "ergas": math.nan}
    if scored.any():
        kept = ScoredPixels(hr[scored], valid)
        values |= {"mpsnr_db": mpsnr_db(mse[scored]), "ergas": ergas(mse[scored], kept, ratio=scale)}
    return Score(values, np.where(scored, band_psnr_db(mse), np.nan))


def scored_bands(hr: Image, valid: Mask) -> NDArray[np.bool_]:
    """Return the bands (C,) whose values vary over the pixels with data, and whose mean is not zero.

    Any method restores the other ones, or ERGAS is not defined.

    Args:
        hr: Truth (C, H, W).
        valid: True for data (H, W).
    """
    if not valid.any():
        return np.zeros(len(hr), dtype=bool)
    return np.array([_can_be_scored(band[valid].astype(np.float64)) for band in hr])


def _can_be_scored(band: NDArray[np.float64]) -> bool:
    size = float(np.sqrt(np.square(band).mean()))
    # With a margin to the rounding of ERGAS.
    return bool(band.min() < band.max() and abs(float(band.mean())) > 1.01 * ROUNDING * size)


def unscored_bands(reduced: Reduced, box: Box) -> NDArray[np.int64]:
    """Return the numbers of the bands that are constant or have zero mean in a box, and are in no score of it."""
    return np.flatnonzero(~scored_bands(reduced.hr[box.slices()], reduced.valid[box.slices()[1:]]))


def band_groups(wavelength_nm: NDArray[Any] | None) -> dict[str, NDArray[np.int64]]:
    """Return the bands of each group that has some; empty without wavelengths.

    >>> {name: bands.tolist() for name, bands in band_groups(np.array([480.0, 550.0, 560.0])).items()}
    {'blue': [0], 'green': [1, 2]}
    """
    if wavelength_nm is None:
        return {}
    found = {
        name: np.flatnonzero((wavelength_nm >= low) & (wavelength_nm < high)) for name, (low, high) in GROUPS_NM.items()
    }
    return {name: bands for name, bands in found.items() if bands.size}


def gains_by_group(score: Score, baseline: Score, wavelength_nm: NDArray[Any] | None) -> dict[str, float]:
    """Return the gain in MPSNR over the baseline in dB, by group of bands that are scored."""
    gain = score.band_psnr_db - baseline.band_psnr_db
    groups = {name: gain[bands][np.isfinite(gain[bands])] for name, bands in band_groups(wavelength_nm).items()}
    return {name: float(values.mean()) for name, values in groups.items() if values.size}
