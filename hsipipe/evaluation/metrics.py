"""The metrics, one function each, on (C, H, W) cubes whose full range is 1.0.

Nothing is clipped, cropped or rescaled here. (The evaluation clips every prediction to [0, 1] before it calls these
functions.) Sums run in float64 over windows of rows (:mod:`hsipipe.evaluation.windows`), so that no scene is held as a
whole; the windows change no value but for rounding. Values that are not finite: infinite PSNR of identical images, NaN
where a metric is undefined; both are ``null`` in JSON.

Sources: PSNR, SSIM: 10.1109/TIP.2003.819861; SAM: Kruse et al., 10.1016/0034-4257(93)90013-N;
ERGAS: Wald, "Quality of high resolution synthesised images" (2000), with the ratio h/l = 1/s.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter
from skimage.metrics import structural_similarity

from hsipipe.artifacts.no_data import Mask, coarse_valid
from hsipipe.artifacts.views import Cube, window_rows
from hsipipe.bands import band_label
from hsipipe.degradation.masked import downsampled, downsampled_rows
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.errors import DataError
from hsipipe.evaluation.correlation import Correlation
from hsipipe.evaluation.cubes import SSIM_WINDOW, Array
from hsipipe.evaluation.windows import windows

ROUNDING = 1e-6
"""Ratio of mean and root mean square below which a mean is zero but for rounding; float32 has 7 digits."""


def band_mse(sr: Cube, hr: Cube) -> NDArray[np.float64]:
    """Mean squared error of each band, (C,)."""
    total, count = np.zeros(len(hr)), 0
    for part, truth in windows(sr, hr):
        total += [np.square(_f64(a) - _f64(b)).sum() for a, b in zip(part, truth, strict=True)]
        count += truth[0].size
    return total / count


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


def mssim(sr: Cube, hr: Cube, *, valid: Mask | None = None) -> float:
    """Structural similarity of each band (skimage with its defaults, data_range 1), mean over bands.

    Args:
        sr: Prediction (C, H, W).
        hr: Truth (C, H, W).
        valid: Pixels with data (H, W). The mean is then over the windows of valid pixels alone; NaN without any.
    """
    edge, total, count = SSIM_WINDOW // 2, np.zeros(len(hr)), 0
    # SSIM takes most of the time of a score; its filters release the GIL.
    with ThreadPoolExecutor(min(len(hr), os.cpu_count() or 1)) as pool:
        for rows in window_rows(hr.shape):
            # The centres of the windows of SSIM that lie within the image.
            first, last = max(rows.start, edge), min(rows.stop, hr.shape[1] - edge)
            if first >= last:
                continue
            reach = slice(first - edge, last + edge)
            whole = None if valid is None else minimum_filter(valid[reach], SSIM_WINDOW)[edge:-edge, edge:-edge]
            planes = zip(sr[:, reach], hr[:, reach], strict=True)
            total += list(pool.map(partial(_ssim_sum, whole=whole), planes))
            count += (last - first) * (hr.shape[2] - 2 * edge) if whole is None else int(whole.sum())
    return float((total / count).mean()) if count else math.nan


def _ssim_sum(planes: tuple[Array, Array], *, whole: Mask | None) -> float:
    """Sum the structural similarity of two planes over the inner pixels, or over those that `whole` marks."""
    edge = SSIM_WINDOW // 2
    a, b = (_f64(plane) for plane in planes)
    # skimage has no annotations here.
    _, similarity = structural_similarity(a, b, data_range=1.0, full=True)  # type: ignore[no-untyped-call]
    inner = similarity[edge:-edge, edge:-edge]
    return float((inner if whole is None else inner[whole]).sum())


def sam_deg(sr: Cube, hr: Cube) -> float:
    """Mean spectral angle in degrees over pixels whose spectra are both non-zero; NaN if there are none.

    The angle of the unit vectors u, v is ``2 atan2(|u - v|, |u + v|)``, which is exact for small angles. The
    arc cosine of their product loses half of the digits there (Kahan, "How futile are mindless assessments of
    roundoff in floating-point computation?", 2006, section 12).
    """
    total, count = 0.0, 0
    for part, truth in windows(sr, hr):
        angles = _angles_deg(part, truth)
        total, count = total + float(angles.sum()), count + angles.size
    return total / count if count else math.nan


def _angles_deg(sr: Array, hr: Array) -> NDArray[np.float64]:
    norm_sr, norm_hr = _norm(sr), _norm(hr)
    valid = (norm_sr > 0) & (norm_hr > 0)
    norm_sr[~valid], norm_hr[~valid] = 1, 1
    difference, total = np.zeros_like(norm_hr), np.zeros_like(norm_hr)
    for a, b in zip(sr, hr, strict=True):
        u, v = _f64(a) / norm_sr, _f64(b) / norm_hr
        difference += np.square(u - v)
        total += np.square(u + v)
    angle = 2 * np.arctan2(np.sqrt(difference), np.sqrt(total))
    return np.asarray(np.degrees(angle[valid]))


def ergas(mse: NDArray[np.float64], hr: Cube, *, ratio: int, wavelength_nm: NDArray[np.float64] | None = None) -> float:
    """``100/s * sqrt(mean_b(MSE_b / mean_b^2))``, where mean_b is the mean of band b of the truth.

    Args:
        mse: :func:`band_mse` (C,).
        hr: Ground truth (C, H, W).
        ratio: The s of the factor 100/s; unless a protocol overrides it, the ratio of the pixel sizes.
        wavelength_nm: Band centres (C,), for the message.

    Raises:
        DataError: A band of the truth has zero mean, exactly or but for rounding; the message names it.
    """
    means, sizes = _means(hr)
    zero = np.abs(means) <= ROUNDING * sizes
    if zero.any():
        band = band_label(int(np.flatnonzero(zero)[0]), wavelength_nm)
        raise DataError(
            f"hr has zero mean in {band}, but ERGAS divides by the mean of each band; drop the band if it is dead, and "
            "score values that are not centred."
        )
    return 100 / ratio * math.sqrt(float(np.mean(mse / means**2)))


def _means(hr: Cube) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and root mean square of each band, (C,) each."""
    total, squares, count = np.zeros(len(hr)), np.zeros(len(hr)), 0
    for (part,) in windows(hr):
        total += [_f64(band).sum() for band in part]
        squares += [np.square(_f64(band)).sum() for band in part]
        count += part[0].size
    return total / count, np.sqrt(squares / count)


def cc(sr: Cube, hr: Cube) -> float:
    """Pearson correlation of each band, mean over bands.

    Bands whose truth is constant have no correlation and are skipped. A constant prediction of a band whose truth
    varies counts as 0. NaN if the truth of every band is constant.
    """
    sums: list[Correlation | None] = [None] * len(hr)
    for part, truth in windows(sr, hr):
        found = [Correlation.of(_f64(a), _f64(b)) for a, b in zip(part, truth, strict=True)]
        sums = [new if old is None else old + new for old, new in zip(sums, found, strict=True)]
    values = [one.coefficient for one in sums if one is not None and not one.is_constant[1]]
    return float(np.mean(values)) if values else math.nan


def consistency_psnr_db(
    sr: Cube,
    lr: Cube | None = None,
    *,
    hr: Cube,
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
        valid: Pixels with data (H, W); the others are filled from them; None: all.
    """
    if not psf.changes(scale):
        return math.nan
    total, count = 0.0, 0
    for rows, low, seen in downsampled(sr, scale, psf=psf, valid=valid):
        target = lr[:, rows] if lr is not None else downsampled_rows(hr, rows, scale, psf=psf, valid=valid)
        if valid is not None:
            seen = seen & coarse_valid(valid[rows.start * scale : rows.stop * scale], scale)
            low, target = low[:, seen], target[:, seen]
        total += sum(float(np.square(_f64(a) - _f64(b)).sum()) for a, b in zip(low, target, strict=True))
        count += low.size
    return psnr_db(total / count) if count else math.nan


def msi_consistency_psnr_db(sr: Cube, msi: Cube, response: NDArray[np.floating[Any]]) -> float:
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
    matrix, total, count = _f64(response), 0.0, 0
    for part, fine in windows(sr, msi):
        for row in range(part.shape[1]):  # row by row, so that the window is not copied
            total += float(np.square(matrix @ _f64(part[:, row]) - _f64(fine[:, row])).sum())
        count += fine.size
    return psnr_db(total / count)


def _f64(plane: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(plane, dtype=np.float64)


def _norm(cube: Array) -> NDArray[np.float64]:
    squares = np.zeros(cube.shape[1:], dtype=np.float64)
    for band in cube:
        squares += np.square(_f64(band))
    return np.sqrt(squares)
