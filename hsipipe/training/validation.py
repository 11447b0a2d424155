"""How trainings choose their best step: whole predictions of validation patches against the truth."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.models.base import SuperResolver


def mean_psnr_db(model: SuperResolver, patches: Mapping[str, NDArray[Any]]) -> float:
    """MPSNR in dB of the predictions, clipped to the full range 0..1.

    Args:
        model: Predicts each patch by itself.
        patches: ``lr`` (N, C, h, w) and ``hr`` (N, C, H, W).
    """
    errors = []
    for lr, hr in zip(patches["lr"], patches["hr"], strict=True):
        error = np.square(model.predict(lr[None])[0].clip(0, 1) - hr).mean(axis=(1, 2))
        errors.append(-10 * np.log10(np.maximum(error, 1e-12)).mean())
    return float(np.mean(errors))
