"""Score a prediction by every metric of :data:`hsipipe.protocols.metrics.METRICS`."""

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask, coarse_valid
from hsipipe.artifacts.views import Cube, Masked, ScoredPixels
from hsipipe.degradation.api import check_scale
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.errors import DataError
from hsipipe.evaluation.alignment import aligned
from hsipipe.evaluation.cubes import as_cube, band_wavelengths, check_lr, check_pair, check_range
from hsipipe.evaluation.metrics import band_mse
from hsipipe.protocols.metrics import METRICS
from hsipipe.registry import resolve

if TYPE_CHECKING:
    import xarray as xr

_OF_PIXELS = {"sr", "hr", "msi", "samples", "ensemble", "centre", "half_width"}
"""Inputs of :func:`measure` with one value per HR pixel."""


def score(
    sr: "NDArray[Any] | xr.DataArray",
    hr: "NDArray[Any] | xr.DataArray",
    scale: int = 4,
    *,
    lr: "NDArray[Any] | xr.DataArray | None" = None,
    psf: Psf = BICUBIC,
    ergas_ratio: int | None = None,
    msi: "NDArray[Any] | xr.DataArray | None" = None,
    response: NDArray[np.floating[Any]] | None = None,
    valid: Mask | None = None,
) -> dict[str, float]:
    """Compute every metric of a prediction whose inputs are given.

    The cubes are read in windows of rows; a lazy one, as :func:`hsipipe.open_cube` gives it, is never held as a whole.
    Labelled cubes are compared by their coordinates: rows, columns and bands in another order are put into the order of
    `hr`, and cubes of other places or wavelengths are refused. Cubes without coordinates are compared by position.

    Args:
        sr: Prediction (C, H, W); values are taken as they are, not clipped.
        hr: Ground truth (C, H, W), full range 1.0.
        scale: Ratio of the pixel sizes, s, a whole number of 1 or more.
        lr: LR input (C, H/s, W/s), for the consistency (default: `hr`, degraded), D_lambda, D_s and QNR.
        psf: PSF of the LR sensor, for the consistency and D_s.
        ergas_ratio: The s of ERGAS's factor 100/s, where a protocol sets another one than the scale.
        msi: HR-MSI (c, H, W) of the scene, for the consistency with the HR-MSI, D_s and QNR.
        response: Spectral response (c, C) that the HR-MSI was made with, for the consistency with the HR-MSI.
        valid: Pixels (H, W) with data, the only ones that count; None: all. What the cubes hold elsewhere must be
            finite, and has no effect. A metric of windows or blocks counts those without any other pixel.

    Returns:
        Key of :data:`hsipipe.protocols.metrics.METRICS` to value. PSNR of identical images is ``inf``; an undefined
        value is NaN.

    Raises:
        DataError: Wrong scale, shapes, ranks, extents, coordinates or range of values, NaN, or a band without signal;
            the message says what to do.
    """
    scale = check_scale(scale)
    truth, prediction = as_cube(hr, "hr"), as_cube(aligned(sr, hr, "sr"), "sr")
    check_pair(prediction, truth, scale)
    mask = mask_inputs(valid, truth, scale)
    if mask:
        prediction, truth = (Masked(cube, mask["valid"]) for cube in (prediction, truth))
    inputs: dict[str, Any] = {"sr": prediction, "hr": truth, "scale": scale, "psf": psf, **mask}
    mse = band_mse(*(_pixels(cube, mask.get("valid")) for cube in (prediction, truth)))
    inputs |= {"mse": mse, "ratio": ergas_ratio or scale, "wavelength_nm": band_wavelengths(hr)}
    if lr is not None:
        inputs["lr"] = as_cube(aligned(lr, hr, "lr", scale=scale), "lr")
        check_lr(inputs["lr"], truth, scale)
        if mask:
            inputs["lr"] = Masked(inputs["lr"], mask["lr_valid"])
    if msi is not None:
        inputs["msi"] = as_cube(aligned(msi, hr, "msi", bands=False), "msi")
        if mask:
            inputs["msi"] = Masked(inputs["msi"], mask["valid"])
    if response is not None:
        inputs["response"] = response
    check_range(truth, {role: inputs[role] for role in ("sr", "lr", "msi") if role in inputs})
    return measure(inputs)


def measure(inputs: Mapping[str, Any]) -> dict[str, float]:
    """Compute every metric whose inputs are given.

    Args:
        inputs: By the parameter names of the metrics' functions. A parameter that has the name of an earlier metric of
            :data:`hsipipe.protocols.metrics.METRICS` gets that metric's value.

    With a mask of the pixels with data, ``valid``, a function without this parameter gets these pixels alone, as rows
    of pixels, see :class:`hsipipe.artifacts.views.ScoredPixels`.

    Returns:
        Key to value, in the order of the metrics.
    """
    known, values = dict(inputs), {}
    valid = known.get("valid")
    pixels = {name: _pixels(known[name], valid) for name in _OF_PIXELS & known.keys()} if valid is not None else {}
    for metric in METRICS:
        if metric.function is None or (metric.of_pair and "msi" not in known):
            continue
        function = resolve(metric.function)
        parameters = signature(function).parameters.values()
        if all(p.name in known or p.default is not Parameter.empty for p in parameters):
            given = known if any(p.name == "valid" for p in parameters) else {**known, **pixels}
            values[metric.key] = function(**{p.name: given[p.name] for p in parameters if p.name in given})
            known[metric.key] = values[metric.key]
    return values


def mask_inputs(valid: Mask | None, hr: Cube, scale: int) -> dict[str, Mask]:
    """Return the inputs of :func:`measure` that say which pixels have data: ``valid`` and ``lr_valid``; none for all.

    Raises:
        DataError: The mask has another size, or no pixel has data.
    """
    if valid is None or valid.all():
        return {}
    if valid.shape != hr.shape[1:] or not valid.any():
        raise DataError(
            f"Got a mask of shape {valid.shape} with {int(valid.sum())} valid pixels for a cube of {hr.shape}, "
            f"expected the shape {hr.shape[1:]} and at least one valid pixel; give the mask of this cube."
        )
    return {"valid": valid, "lr_valid": coarse_valid(valid, scale)}


def _pixels(cubes: Any, valid: Mask | None) -> Any:
    """Return a cube (C, H, W), or each of several, of which only the valid pixels are read; for None as it is."""
    if isinstance(cubes, list):
        return [_pixels(cube, valid) for cube in cubes]
    return cubes if valid is None else ScoredPixels(cubes, valid)
