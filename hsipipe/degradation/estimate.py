"""Estimate the spectral response of the MSI and the PSF of the LR-HSI from a pair of images.

After Simões et al. 2015, DOI 10.1109/TGRS.2014.2375320, section on estimating the spectral and spatial responses:
both sensors see the same scene, so the degraded MSI must equal the response applied to the LR-HSI.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar, nnls

from hsipipe.artifacts.no_data import Mask
from hsipipe.degradation.masked import downsample_valid
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError

# Regularisation of the differences of neighbouring weights, relative to the mean power of the LR-HSI bands: smooths the
# weights that the data do not determine.
_SMOOTH = 1e-7
# Search range of the standard deviation in LR pixels, and number of grid points before the refinement. Below the range,
# decimation dominates the blur; above, the LR image itself would be blurred.
_NARROWEST, _WIDEST, _TRIED = 0.05, 1.5, 16


def estimate_response(
    lr: NDArray[Any], msi: NDArray[Any], *, scale: int, psf: Psf, valid: Mask | None = None
) -> NDArray[np.float64]:
    """Estimate the spectral response from a pair, by non-negative least squares with smooth weights.

    For each degraded MSI band y, minimise ``|y - r lr|^2 + w |D r|^2`` over r >= 0, where D takes the differences of
    neighbouring weights (Simões et al. 2015, DOI 10.1109/TGRS.2014.2375320; without the constraint on the sign).

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W) of the same ground.
        scale: Ratio of the pixel sizes, s.
        psf: PSF of the LR sensor.
        valid: Pixels (H, W) with data in both images, which are finite elsewhere, too; None: all.

    Returns:
        (c, C); a row sums to the ratio of the units of the two sensors, 1 for equal units.

    Raises:
        DataError: The sizes do not match.
    """
    check_sizes(lr, msi, scale=scale)
    if valid is None:
        return fit_response(_flat(lr), _flat(psf.downsample(msi, scale)))
    low, seen = downsample_valid(msi, valid, scale, psf=psf)
    return fit_response(*(np.asarray(image[:, seen], dtype=np.float64) for image in (lr, low)))


def estimate_psf(lr: NDArray[Any], msi: NDArray[Any], *, scale: int, response: NDArray[Any] | None = None) -> Psf:
    """Estimate the width of a Gaussian PSF from a pair.

    Simões et al. 2015, DOI 10.1109/TGRS.2014.2375320, estimate a free kernel; a Gaussian has a single parameter, which
    even a small image determines.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W) of the same ground.
        scale: Ratio of the pixel sizes, s.
        response: (c, C); None: estimate it again for each width.

    Raises:
        DataError: The sizes do not match.
    """
    check_sizes(lr, msi, scale=scale)
    spectra, high = _flat(lr), np.asarray(msi, dtype=np.float64)

    def unexplained(log_sigma: float) -> float:
        low = _flat(Psf("gaussian", sigma=float(np.exp(log_sigma))).downsample(high, scale))
        matrix = fit_response(spectra, low) if response is None else np.asarray(response, dtype=np.float64)
        return float(np.square(low - matrix @ spectra).sum())

    tried = np.linspace(np.log(_NARROWEST * scale), np.log(_WIDEST * scale), _TRIED)
    best = int(np.argmin([unexplained(value) for value in tried]))
    bounds = (tried[max(best - 1, 0)], tried[min(best + 1, _TRIED - 1)])
    found = minimize_scalar(unexplained, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return Psf("gaussian", sigma=float(np.exp(found.x)))


def explained(
    lr: NDArray[Any], msi: NDArray[Any], *, scale: int, psf: Psf, response: NDArray[Any]
) -> NDArray[np.float64]:
    """Compute the share of the variance of each degraded MSI band that the response explains (R^2).

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W) of the same ground.
        scale: Ratio of the pixel sizes, s.
        psf: PSF of the LR sensor.
        response: (c, C).

    Returns:
        (c,); at most 1, and below 0 where the mean of the band is the better estimate. A constant band counts as 1.

    Raises:
        DataError: The sizes do not match.
    """
    check_sizes(lr, msi, scale=scale, response=response)
    low = _flat(psf.downsample(msi, scale))
    # Means are removed because the response does not model a constant offset between two sensors.
    misses = low - np.asarray(response, dtype=np.float64) @ _flat(lr)
    total = low.var(axis=1)
    # Rounding alone keeps the variance of a constant float32 band above zero.
    varies = total > 1e-10 * np.square(low).mean(axis=1)
    return np.asarray(1.0 - np.where(varies, np.square(misses).mean(axis=1) / np.where(varies, total, 1.0), 0.0))


def check_sizes(lr: NDArray[Any], msi: NDArray[Any], *, scale: int, response: NDArray[Any] | None = None) -> None:
    """Check that two images form a pair of matching sizes.

    Raises:
        DataError: A shape does not match, or an image has NaN or infinite values.
    """
    for name, image, letters in (("lr", lr, "C, h, w"), ("msi", msi, "c, H, W")):
        if image.ndim != 3 or 0 in image.shape:
            raise DataError(
                f"Got {name} of shape {image.shape}, expected ({letters}) with at least one band and pixel; pass one "
                "scene at a time."
            )
        if not np.isfinite(image).all():
            raise DataError(f"Got NaN or Inf values in {name}, expected finite values; fill or crop them.")
    expected = (scale * lr.shape[1], scale * lr.shape[2])
    if msi.shape[1:] != expected:
        raise DataError(
            f"Got an MSI of {msi.shape[1]} x {msi.shape[2]} pixels for an LR-HSI of {lr.shape[1]} x {lr.shape[2]}, "
            f"expected {expected[0]} x {expected[1]} at scale {scale}; crop both to the same ground."
        )
    if response is not None and response.shape != (len(msi), len(lr)):
        raise DataError(
            f"Got a response of shape {response.shape}, expected ({len(msi)}, {len(lr)}): MSI bands by HSI bands; "
            "pass the response of these two sensors."
        )


def _flat(image: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64).reshape(len(image), -1)


def fit_response(spectra: NDArray[np.float64], low: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit rows r >= 0, (c, C), so that r `spectra` (C, n) approximates `low` (c, n)."""
    bands = len(spectra)
    # The QR decomposition makes the cost of the fit independent of the number of pixels.
    q, triangle = np.linalg.qr(spectra.T)
    weight = np.sqrt(_SMOOTH * np.square(spectra).sum() / bands)
    system = np.concatenate([triangle, weight * np.diff(np.eye(bands), axis=0)])
    targets = np.concatenate([q.T @ low.T, np.zeros((bands - 1, len(low)))])
    # The default limit of nnls is too low in rare cases.
    return np.stack([nnls(system, target, maxiter=100 * bands)[0] for target in targets.T])
