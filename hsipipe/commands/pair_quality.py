"""Estimate the sensors of a pair of LR-HSI and HR-MSI, and the quality of its fusion."""

import sys

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.estimate import estimate_psf
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.methods.fusion.model import FusionModel

_SUSPICIOUS = 1.2
"""Width of an estimated PSF in LR pixels above which the estimate has failed."""


def for_this_pair(model: FusionModel, lr: NDArray[np.float32], msi: NDArray[np.float32]) -> FusionModel:
    """Return the model with PSF and spectral response estimated from the pair; print a note.

    Args:
        model: Model of the pair's scale.
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
    """
    psf = estimate_psf(lr, msi, scale=model.scale)
    if (psf.width(model.scale) or 0) > _SUSPICIOUS * model.scale:
        print(
            "warning: no PSF of a likely width explains the pair; do both images show the same ground?",
            file=sys.stderr,
        )
    print(
        f"note: estimated from the pair, the PSF is {psf.describe(model.scale)}; so is the spectral response.",
        file=sys.stderr,
    )
    return model.with_sensors(psf=psf, response="estimated")


def quality_note(
    sr: NDArray[np.float32], lr: NDArray[np.float32], msi: NDArray[np.float32], *, scale: int, psf: Psf | None
) -> str:
    """Describe the quality of a fusion without ground truth in a sentence.

    Args:
        sr: Prediction (C, H, W).
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes, s.
        psf: PSF of the LR sensor; None: unknown, D_s uses a bicubic reduction.
    """
    from hsipipe.evaluation.fusion_metrics import without_truth
    from hsipipe.evaluation.metrics import consistency_psnr_db  # imports scikit-image

    values = without_truth(sr, lr, msi, scale=scale, psf=psf or BICUBIC)
    indices = f"D_lambda {values['d_lambda']:.4f} and D_s {values['d_s']:.4f} (0 is best), QNR {values['qnr']:.4f}"
    if psf is None:
        return f"{indices} (1 is best), with a bicubic reduction, since the model knows no PSF."
    psnr = consistency_psnr_db(sr, lr, hr=sr, scale=scale, psf=psf)
    return f"degraded, the prediction has a PSNR of {psnr:.2f} dB against the LR-HSI; {indices} (1 is best)."
