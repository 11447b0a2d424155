"""The metrics, one function each, on (C, H, W) cubes whose full range is 1.0.

Nothing is clipped, cropped or rescaled here. (The evaluation clips every prediction to [0, 1] before it calls these
functions.) Sums run in float64, band by band, so that a float32 scene is never copied as a whole. Values that are not
finite: infinite PSNR of identical images, NaN where a metric is undefined; both are ``null`` in JSON.

Sources: PSNR, SSIM: 10.1109/TIP.2003.819861; SAM: Kruse et al., 10.1016/0034-4257(93)90013-N;
ERGAS: Wald, "Quality of high resolution synthesised images" (2000), with the ratio h/l = 1/s.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter
from skimage.metrics import structural_similarity

from hsipipe.artifacts.no_data import Mask, coarse_valid
from hsipipe.bands import band_label
from hsipipe.degradation.masked import downsample_valid
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.errors import DataError
from hsipipe.evaluation.cubes import SSIM_WINDOW, Array

_ROUNDING = 1e-6
"""Ratio of mean and root mean square below which a mean is zero but for rounding; float32 has 7 digits."""


def band_mse(sr: Array, hr: Array) -> NDArray[np.float64]:
    """Mean squared error of each band, (C,)."""
    return np.array([np.mean(np.square(_f64(a) - _f64(b))) for a, b in zip(sr, hr, strict=True)])


def psnr_db(mse: float) -> float:
    """PSNR in dB of a mean squared error, for peak 1; ``inf`` for zero."""
    return math.inf if mse == 0 else -10 * math.log10(mse)


def band_psnr_db(mse: NDArray[np.float64]) -> NDArray[np.float64]:
    """PSNR in dB of each band, (C,), from :func:`band_mse`."""
    return np.array([psnr_db(value) for value in mse])


def mpsnr_db(mse: NDArray[np.float64]) -> float:
    """Mean over bands of the PSNR in dB; infinite if one band has no error.

    Args:
        mse: :func:`band_mse` (C,).
    """
    return float(band_psnr_db(mse).mean())


def cube_psnr_db(mse: NDArray[np.float64]) -> float:
    """PSNR in dB of all values together; it differs by up to 1 dB from :func:`mpsnr_db`. Do not mix the two.

    Args:
        mse: :func:`band_mse` (C,).
    """
    return psnr_db(float(mse.mean()))


def rmse(mse: NDArray[np.float64]) -> float:
    """Root of the mean squared error of all values.

    Args:
        mse: :func:`band_mse` (C,).
    """
    return math.sqrt(float(mse.mean()))


def mssim(sr: Array, hr: Array, *, valid: Mask | None = None) -> float:
    """Structural similarity of each band (skimage with its defaults, data_range 1), mean over bands.

    Args:
        sr: Prediction (C, H, W).
        hr: Truth (C, H, W).
        valid: Pixels with data (H, W). The mean is then over the windows of valid pixels alone; NaN without any.
    """
    edge = SSIM_WINDOW // 2
    inner = np.s_[edge:-edge, edge:-edge]
    whole = None if valid is None else minimum_filter(valid, SSIM_WINDOW)[inner]
    if whole is not None and not whole.any():
        return math.nan

    def one(planes: tuple[Array, Array]) -> float:
        a, b = (_f64(plane) for plane in planes)
        # skimage has no annotations here.
        if whole is None:
            return float(structural_similarity(a, b, data_range=1.0))  # type: ignore[no-untyped-call]
        _, similarity = structural_similarity(a, b, data_range=1.0, full=True)  # type: ignore[no-untyped-call]
        return float(similarity[inner][whole].mean())

    # SSIM takes most of the time of a score; its filters release the GIL.
    with ThreadPoolExecutor(min(len(hr), os.cpu_count() or 1)) as pool:
        return float(np.mean(list(pool.map(one, zip(sr, hr, strict=True)))))


def sam_deg(sr: Array, hr: Array) -> float:
    """Mean spectral angle in degrees over pixels whose spectra are both non-zero; NaN if there are none.

    The angle of the unit vectors u, v is ``2 atan2(|u - v|, |u + v|)``, which is exact for small angles. The
    arc cosine of their product loses half of the digits there (Kahan, "How futile are mindless assessments of
    roundoff in floating-point computation?", 2006, section 12).
    """
    norm_sr, norm_hr = _norm(sr), _norm(hr)
    valid = (norm_sr > 0) & (norm_hr > 0)
    if not valid.any():
        return math.nan
    norm_sr[~valid], norm_hr[~valid] = 1, 1
    difference, total = np.zeros_like(norm_hr), np.zeros_like(norm_hr)
    for a, b in zip(sr, hr, strict=True):
        u, v = _f64(a) / norm_sr, _f64(b) / norm_hr
        difference += np.square(u - v)
        total += np.square(u + v)
    angle = 2 * np.arctan2(np.sqrt(difference), np.sqrt(total))
    return float(np.degrees(angle[valid]).mean())


def ergas(
    mse: NDArray[np.float64], hr: Array, *, ratio: int, wavelength_nm: NDArray[np.float64] | None = None
) -> float:
    """``100/s * sqrt(mean_b(MSE_b / mean_b^2))``, where mean_b is the mean of band b of the truth.

    Args:
        mse: :func:`band_mse` (C,).
        hr: Ground truth (C, H, W).
        ratio: The s of the factor 100/s; unless a protocol overrides it, the ratio of the pixel sizes.
        wavelength_nm: Band centres (C,), for the message.

    Raises:
        DataError: A band of the truth has zero mean, exactly or but for rounding; the message names it.
    """
    means = np.array([_f64(band).mean() for band in hr])
    sizes = np.array([np.sqrt(np.square(_f64(band)).mean()) for band in hr])
    zero = np.abs(means) <= _ROUNDING * sizes
    if zero.any():
        band = band_label(int(np.flatnonzero(zero)[0]), wavelength_nm)
        raise DataError(
            f"hr has zero mean in {band}, but ERGAS divides by the mean of each band; drop the band if it is dead, and "
            "score values that are not centred."
        )
    return 100 / ratio * math.sqrt(float(np.mean(mse / means**2)))


def cc(sr: Array, hr: Array) -> float:
    """Pearson correlation of each band, mean over bands.

    Bands whose truth is constant have no correlation and are skipped. A constant prediction of a band whose truth
    varies counts as 0. NaN if the truth of every band is constant.
    """
    values = [_pearson(_f64(a), _f64(b)) for a, b in zip(sr, hr, strict=True) if b.min() != b.max()]
    return float(np.mean(values)) if values else math.nan


def consistency_psnr_db(
    sr: Array,
    lr: Array | None = None,
    *,
    hr: Array,
    scale: int,
    psf: Psf = BICUBIC,
    valid: Mask | None = None,
) -> float:
    """PSNR in dB between the degraded prediction and the LR input; NaN if noise is the only degradation.

    In denoising it would be highest for a prediction that keeps all of the noise.

    Args:
        sr: Prediction (C, H, W).
        lr: LR input (C, H/s, W/s); None: the truth, degraded in the same way.
        hr: Ground truth (C, H, W).
        scale: Ratio of the pixel sizes, s.
        psf: PSF of the LR sensor.
        valid: Pixels with data (H, W), over which the PSF is normalised; None: all.
    """
    if not psf.changes(scale):
        return math.nan
    if valid is not None:
        low, seen = downsample_valid(sr, valid, scale, psf=psf)
        seen &= coarse_valid(valid, scale)
        target = downsample_valid(hr, valid, scale, psf=psf)[0] if lr is None else lr
        misses = _f64(low[:, seen]) - _f64(target[:, seen])
        return psnr_db(float(np.square(misses).mean())) if misses.size else math.nan
    errors = []
    for a, b in zip(sr, hr if lr is None else lr, strict=True):
        low = psf.downsample(_f64(b), scale) if lr is None else _f64(b)
        errors.append(np.mean(np.square(psf.downsample(_f64(a), scale) - low)))
    return psnr_db(float(np.mean(errors)))


def msi_consistency_psnr_db(sr: Array, msi: Array, response: NDArray[np.floating[Any]]) -> float:
    """PSNR in dB between the prediction, reduced by the spectral response of the HR-MSI's sensor, and the HR-MSI.

    Args:
        sr: Prediction (C, H, W).
        msi: HR-MSI (c, H, W).
        response: Spectral response (c, C).

    Raises:
        DataError: The shapes of the three do not match.
    """
    expected = (len(response), *sr.shape[1:])
    if response.shape[1:] != sr.shape[:1] or msi.shape != expected:
        raise DataError(
            f"msi has shape {msi.shape}, response {response.shape}, sr {sr.shape}: expected (c, H, W), (c, C) and "
            "(C, H, W); give the response that the HR-MSI was made with, and crop both images to the same region."
        )
    matrix, total = _f64(response), 0.0
    for row in range(sr.shape[1]):  # row by row, so that the scene is not copied
        total += float(np.square(matrix @ _f64(sr[:, row]) - _f64(msi[:, row])).sum())
    return psnr_db(total / msi.size)


def _f64(plane: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(plane, dtype=np.float64)


def _norm(cube: Array) -> NDArray[np.float64]:
    squares = np.zeros(cube.shape[1:], dtype=np.float64)
    for band in cube:
        squares += np.square(_f64(band))
    return np.sqrt(squares)


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if a.min() == a.max():
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))
