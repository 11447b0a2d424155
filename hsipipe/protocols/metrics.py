"""The metrics: one record each, which every table, report, figure and protocol reads.

To add a metric, add its record to :data:`METRICS` and write its function. The parameters of the function name the
inputs that it needs, see :func:`hsipipe.evaluation.scoring.measure`; where one is missing, the metric is skipped.
A metric whose definition changes gets a new key: numbers of one key are comparable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MISSING = "n/a"
"""Stands where a number is not finite or not there."""


@dataclass(frozen=True)
class Metric:
    """One number of a result.

    Attributes:
        key: Key in metrics.json; ends with the unit.
        title: Name in text.
        definition: One sentence; a task may define it otherwise (:data:`hsipipe.restoration.TASKS`).
        digits: Decimals.
        unit: Short, for the second line of a heading.
        better: Direction of improvement; None: no merit.
        short: Title where space is short; None: :attr:`title`.
        function: ``"module:attribute"`` of the function that computes it from predictions; None: the evaluation
            measures it otherwise.
        of_pair: Judges a fusion; skipped without an HR-MSI.
        hashed: The definition is part of every protocol's hash. Leave it False for a new metric: old results stay
            comparable.
        terminal: Always in its table of 80 columns.
        of_samples: Judges samples; in the table of ``hsipipe compare --uncertainty``.
    """

    key: str
    title: str
    definition: str
    digits: int
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    short: str | None = None
    function: str | None = None
    of_pair: bool = False
    hashed: bool = False
    terminal: bool = False
    of_samples: bool = False

    @property
    def heading(self) -> str:
        """Title of a column."""
        return self.short or self.title

    @property
    def label(self) -> str:
        """Title of an axis, such as ``MPSNR (dB)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def sign(self) -> int:
        """1 if more is better, -1 if less is, 0 if it is no merit."""
        return {"higher": 1, "lower": -1, None: 0}[self.better]

    def text(self, value: float | None) -> str:
        """Format a number; :data:`MISSING` where it is not finite or not there, never a rounded zero."""
        if value is None:
            return MISSING
        least = 10.0**-self.digits
        return f"<{least:.{self.digits}f}" if 0 < value < least / 2 else f"{value:.{self.digits}f}"


METRICS: tuple[Metric, ...] = (
    Metric(
        "mpsnr_db",
        "MPSNR",
        "PSNR of each band with peak 1, mean over bands (dB)",
        digits=2,
        unit="dB",
        better="higher",
        function="hsipipe.evaluation.metrics:mpsnr_db",
        hashed=True,
        terminal=True,
    ),
    Metric(
        "cube_psnr_db",
        "Cube PSNR",
        "PSNR of the whole cube with peak 1 (dB)",
        digits=2,
        unit="dB",
        better="higher",
        short="cube",
        function="hsipipe.evaluation.metrics:cube_psnr_db",
        hashed=True,
    ),
    Metric(
        "mssim",
        "MSSIM",
        "skimage structural_similarity of each band, its defaults, data_range 1, mean over bands",
        digits=4,
        better="higher",
        function="hsipipe.evaluation.metrics:mssim",
        hashed=True,
        terminal=True,
    ),
    Metric(
        "sam_deg",
        "SAM",
        "mean angle between spectra over pixels whose spectra are both non-zero (degrees)",
        digits=2,
        unit="deg",
        better="lower",
        function="hsipipe.evaluation.metrics:sam_deg",
        hashed=True,
        terminal=True,
    ),
    Metric(
        "ergas",
        "ERGAS",
        "ERGAS factor * sqrt(mean over bands of MSE_b / mean_b^2)",
        digits=2,
        better="lower",
        function="hsipipe.evaluation.metrics:ergas",
        hashed=True,
        terminal=True,
    ),
    Metric(
        "cc",
        "CC",
        "Pearson correlation of each band, mean over the bands where the truth is not constant",
        digits=4,
        better="higher",
        function="hsipipe.evaluation.metrics:cc",
        hashed=True,
    ),
    Metric(
        "rmse",
        "RMSE",
        "root of the mean squared error of the whole cube",
        digits=4,
        better="lower",
        function="hsipipe.evaluation.metrics:rmse",
        hashed=True,
    ),
    Metric(
        "consistency_psnr_db",
        "Consistency",
        "PSNR of the degraded prediction against the LR input (dB)",
        digits=2,
        unit="dB",
        better="higher",
        short="Consist",
        function="hsipipe.evaluation.metrics:consistency_psnr_db",
        hashed=True,
    ),
    Metric(
        "msi_consistency_psnr_db",
        "Consistency with the HR-MSI",
        "PSNR of the prediction, as the sensor of the HR-MSI sees it, against the HR-MSI (dB)",
        digits=2,
        unit="dB",
        better="higher",
        short="MSI",
        function="hsipipe.evaluation.metrics:msi_consistency_psnr_db",
        of_pair=True,
    ),
    Metric(
        "d_lambda",
        "D_lambda",
        "mean over pairs of bands of the change of their Q index from the LR-HSI to the prediction",
        digits=4,
        better="lower",
        function="hsipipe.evaluation.fusion_metrics:d_lambda",
        of_pair=True,
    ),
    Metric(
        "d_s",
        "D_s",
        "mean over pairs of an HSI and an MSI band of the change of their Q index from low to high resolution",
        digits=4,
        better="lower",
        function="hsipipe.evaluation.fusion_metrics:d_s",
        of_pair=True,
    ),
    Metric(
        "qnr",
        "QNR",
        "(1 - D_lambda) (1 - D_s)",
        digits=4,
        better="higher",
        function="hsipipe.evaluation.fusion_metrics:qnr",
        of_pair=True,
    ),
    Metric(
        "crps",
        "CRPS",
        "fair continuous ranked probability score of the samples, mean over all values; of a prediction without "
        "samples the mean absolute error",
        digits=4,
        better="lower",
        function="hsipipe.evaluation.ensemble:crps",
        terminal=True,
        of_samples=True,
    ),
    Metric(
        "coverage_90",
        "Coverage",
        "share of the values inside the central 90 % interval of the samples, calibrated on the validation patches (%)",
        digits=1,
        unit="%",
        short="Cover",
        function="hsipipe.evaluation.ensemble:coverage_90",
        terminal=True,
        of_samples=True,
    ),
    Metric(
        "spread_skill",
        "Spread/skill",
        "root of the mean variance of the samples, times sqrt(1 + 1/K), over the RMSE of their mean; 1 is calibrated",
        digits=2,
        short="Spread",
        function="hsipipe.evaluation.ensemble:spread_skill",
        terminal=True,
        of_samples=True,
    ),
    Metric(
        "energy_score",
        "Energy score",
        "fair energy score of patches of 8 x 8 pixels in 15 components of the training spectra, each scaled to unit "
        "variance; of a prediction without samples the norm of its error",
        digits=2,
        better="lower",
        short="Energy",
        function="hsipipe.evaluation.ensemble:energy_score",
        terminal=True,
        of_samples=True,
    ),
    Metric(
        "psd_error",
        "PSD error",
        "mean absolute log10 ratio of the radial power of one sample (or the prediction) to the truth's, from 1/(2s) "
        "to 1/2 cycles per pixel",
        digits=2,
        better="lower",
        short="PSD",
        function="hsipipe.evaluation.ensemble:psd_error",
        terminal=True,
        of_samples=True,
    ),
    Metric(
        "edge_sharpness",
        "Edge sharpness",
        "PSD error from 1/4 to 1/2 cycles per pixel",
        digits=2,
        better="lower",
        short="Edges",
        function="hsipipe.evaluation.ensemble:edge_sharpness",
        of_samples=True,
    ),
    Metric(
        "sample_consistency_db",
        "Consistency of samples",
        "lowest consistency of a sample (dB)",
        digits=2,
        unit="dB",
        better="higher",
        short="Consist",
        function="hsipipe.evaluation.ensemble:sample_consistency_db",
        of_samples=True,
    ),
    Metric(
        "block_max_crps",
        "CRPS of maxima",
        "CRPS of the largest brightness in blocks of 8 x 8 pixels; of a prediction without samples its absolute error",
        digits=4,
        better="lower",
        short="Max",
        function="hsipipe.evaluation.ensemble:block_max_crps",
        terminal=True,
        of_samples=True,
    ),
    Metric(
        "bright_area_crps",
        "CRPS of areas",
        "CRPS of the share of blocks of 8 x 8 pixels that is brighter than 90 % of the input's pixels; of a prediction "
        "without samples its absolute error",
        digits=4,
        better="lower",
        short="Area",
        function="hsipipe.evaluation.ensemble:bright_area_crps",
        terminal=True,
        of_samples=True,
    ),
    Metric(
        "seconds_per_image",
        "Time",
        "wall time of a whole test scene on the machine that evaluated, tiling included (s)",
        digits=2,
        unit="s/img",
        terminal=True,
    ),
    Metric("nfe", "NFE", "network evaluations per image", digits=0, terminal=True),
)
"""All metrics in the order of the tables."""

METRIC: Mapping[str, Metric] = {metric.key: metric for metric in METRICS}
"""The metrics by key."""


def hashed_definitions() -> dict[str, str]:
    """Key to definition of the metrics that every protocol's hash holds."""
    return {metric.key: metric.definition for metric in METRICS if metric.hashed}
