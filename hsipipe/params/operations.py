"""Groups of params.yaml on scheduled retraining: new scenes, and when a new model replaces the one in use."""

from typing import Annotated

from pydantic import Field

from hsipipe.params.base import Fraction, Group, NonNegative, Positive

Tolerance = Annotated[float, Field(ge=0)]


class InboxParams(Group):
    """Where new scenes of the data set `folder` arrive; read by `hsipipe retrain` alone."""

    path: str | None
    """A folder; null: there is none. Fit cubes go on to dataset.root, others to its subfolder `quarantine`."""
    quiet_s: NonNegative
    """Seconds for which a file must not have changed: one that is being copied is left alone."""


class GateParams(Group):
    """Conditions that a challenger must meet on the test scenes to become the champion.

    Each difference is that of challenger and champion on the same scenes; its bound is that of a paired bootstrap over
    the scenes at `confidence`, on the side that speaks against the challenger.
    """

    confidence: Fraction
    """Of the one-sided bounds."""
    resamples: Positive
    """Of the bootstrap."""
    seed: NonNegative
    """Draws the resamples."""
    min_scenes: Positive
    """Test scenes that neither model was trained on; with fewer nothing is promoted. A model without any gain is better
    on all of n scenes in one case of 2^n: five are the fewest for a confidence of 0.95, and one has no interval."""
    min_gain_db: Tolerance
    """MPSNR: the gain's lower bound must be above it."""
    max_sam_rise_deg: Tolerance
    """SAM may rise by that much."""
    max_ergas_rise: Tolerance
    """ERGAS may rise by that share of the champion's."""
    max_consistency_drop_db: Tolerance
    """The PSNR of the degraded prediction against the input may drop by that much."""
    enough_consistency_db: float
    """From this PSNR on, that of the degraded prediction counts as agreement, whatever the champion has."""
    max_latency_ratio: Annotated[float, Field(gt=0)]
    """Time of a prediction, challenger to champion, side by side on the machine that judges."""
