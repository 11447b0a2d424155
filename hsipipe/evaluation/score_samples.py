"""Score the samples of a method on a test scene, beside its prediction."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs, Pair
from hsipipe.evaluation.calibration import calibration_sums
from hsipipe.evaluation.ensemble import (
    LEVELS,
    Ensemble,
    SpectralFrame,
    coverage_90,
    coverage_by_band,
    coverage_by_texture,
    rank_histogram,
)
from hsipipe.evaluation.scoring import mask_inputs, measure
from hsipipe.methods.pca_ceiling import PcaCeiling
from hsipipe.protocols import Protocol

CALIBRATION_LISTS: Mapping[str, str] = {
    "ranks": "share of the values by the rank of the truth among the K samples (K + 1,)",
    "coverage_by_level": "coverage in % of intervals of 50, 60, 70, 80, 90 and 95 %",
    "coverage_by_texture": "coverage in % by decile of the deviation of the brightness in 5 x 5 pixels (10,)",
    "coverage_by_wavelength": "coverage in % by 100 nm, or by fifth of the bands without wavelengths",
}
"""Meaning of each list of :func:`calibration_of`."""
_COMPONENTS = 15
_WIDE_NM = 100.0


def training_frame(pairs: DegradedPairs) -> SpectralFrame:
    """The components of the training spectra for the energy score."""
    pca = PcaCeiling.fit_training(pairs, _COMPONENTS)
    return SpectralFrame(pca.components, np.maximum(pca.std, 1e-6))


def sample_metrics(ensemble: Ensemble, pair: Pair, frame: SpectralFrame, protocol: Protocol) -> dict[str, float]:
    """Compute the metrics of samples; of a prediction alone those that it has, too."""
    inputs: dict[str, Any] = {
        "samples": ensemble.samples,
        "hr": pair.hr,
        "lr": pair.lr,
        "scale": protocol.scale,
        "frame": frame,
        "psf": protocol.psf,
        **mask_inputs(pair.valid, pair.hr, protocol.scale),
    }
    if ensemble.varies:
        inputs |= {"ensemble": ensemble.samples, "centre": ensemble.centre, "half_width": ensemble.half_width()}
    return measure(inputs)


def calibration_of(ensemble: Ensemble, pair: Pair) -> dict[str, Any]:
    """Return :data:`CALIBRATION_LISTS` of a scene, and ``sums``, see :func:`calibration_sums`."""
    pixels = ensemble.at(pair.valid)
    hr = np.asarray(pair.scored(pair.hr))
    centre, half_width = pixels.centre, pixels.half_width()
    by_band = coverage_by_band(centre, half_width, hr)
    return {
        "sums": calibration_sums(pixels.expected_error, centre, hr),
        "ranks": rank_histogram(pixels.samples, hr),
        "coverage_by_level": [coverage_90(centre, pixels.half_width(level), hr) for level in LEVELS],
        "coverage_by_texture": coverage_by_texture(
            ensemble.centre, ensemble.half_width(), np.asarray(pair.hr), pair.valid
        ),
        "coverage_by_wavelength": _in_groups(by_band, pair.wavelength_nm),
    }


def _in_groups(by_band: NDArray[np.float64], wavelength_nm: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if wavelength_nm is None:
        groups = np.arange(len(by_band)) * 5 // len(by_band)
    else:
        groups = ((wavelength_nm - wavelength_nm.min()) // _WIDE_NM).astype(int)
    return np.array([by_band[groups == group].mean() for group in np.unique(groups)])
