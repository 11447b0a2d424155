"""How trainings choose their best step: whole predictions of validation patches against the truth."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.degradation.psf import Psf
from hsipipe.methods.super_resolver import SuperResolver


def may_be_turned(patches: PatchArrays) -> bool:
    """Whether pairs of patches stay pairs when both are turned: the PSF must see all sides alike."""
    return Psf(**patches.attrs["psf"]).is_centred(int(patches.attrs["scale"]))


def mean_psnr_db(model: SuperResolver, patches: Mapping[str, NDArray[Any]]) -> float:
    """MPSNR in dB of the predictions, clipped to the full range 0..1.

    Errors are averaged over all patches before the logarithm is taken, as in a scene that they were cut from: a mean
    of the patches' own PSNR would be ruled by the dark and flat ones, in which hardly anything can be gained.

    Args:
        model: Predicts each patch by itself.
        patches: ``lr`` (N, C, h, w) and ``hr`` (N, C, H, W); ``msi`` (N, c, H, W) for a model that fuses.
    """
    errors = []
    for number, (lr, hr) in enumerate(zip(patches["lr"], patches["hr"], strict=True)):
        beside = {"msi": patches["msi"][number][None]} if "msi" in patches else {}
        errors.append(np.square(model.predict(lr[None], **beside)[0].clip(0, 1) - hr).mean(axis=(1, 2)))
    return float(-10 * np.log10(np.maximum(np.mean(errors, axis=0), 1e-12)).mean())
