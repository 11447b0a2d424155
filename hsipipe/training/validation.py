"""Validation that chooses the best step: full predictions of validation patches against the truth."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.degradation.psf import Psf
from hsipipe.methods.super_resolver import SuperResolver


def may_be_turned(patches: PatchArrays) -> bool:
    """Return True if HR and LR patches stay consistent when flipped or transposed: the PSF must be symmetric."""
    return Psf(**patches.attrs["psf"]).is_centred(int(patches.attrs["scale"]))


def mean_psnr_db(model: SuperResolver, patches: Mapping[str, NDArray[Any]]) -> float:
    """MPSNR in dB of the predictions, clipped to the full range 0..1.

    Errors are averaged over all patches before the logarithm, as in a scene that the patches were cut from. The mean of
    the patches' PSNR would be dominated by dark and flat patches, in which hardly any gain is possible.

    Args:
        model: Predicts each patch separately.
        patches: ``lr`` (N, C, h, w) and ``hr`` (N, C, H, W); ``msi`` (N, c, H, W) for a model that fuses.
    """
    errors = []
    for number, (lr, hr) in enumerate(zip(patches["lr"], patches["hr"], strict=True)):
        beside = {"msi": patches["msi"][number][None]} if "msi" in patches else {}
        errors.append(np.square(model.predict(lr[None], **beside)[0].clip(0, 1) - hr).mean(axis=(1, 2)))
    return float(-10 * np.log10(np.maximum(np.mean(errors, axis=0), 1e-12)).mean())
