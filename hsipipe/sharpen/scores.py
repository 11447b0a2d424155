"""Scores of a candidate in a region, and its gain over interpolation by group of bands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.evaluation.masked import score_valid, scored_bands, valid_pixels
from hsipipe.evaluation.metrics import band_mse, band_psnr_db
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
    inside = reduced.valid[box.slices()[1:]]
    ours, truth = sr[box.slices()], reduced.hr[box.slices()]
    mse = band_mse(valid_pixels(ours, inside), valid_pixels(truth, inside))
    psnr = np.where(scored_bands(truth, inside), band_psnr_db(np.maximum(mse, 1e-12)), np.nan)
    return Score(score_valid(ours, truth, inside, scale=reduced.scale), psnr)


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
