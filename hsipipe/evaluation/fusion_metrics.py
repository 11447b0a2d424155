"""Quality of a fused cube without its ground truth: D_lambda, D_s and QNR.

Alparone et al. 2008, DOI 10.14358/PERS.74.2.193, with the exponents p = q = 1 and alpha = beta = 1. They test whether
the bands of the fused cube relate to each other, and to the HR-MSI, as they do at low resolution. The relation of
two bands is the Q index of Wang & Bovik 2002, DOI 10.1109/97.995823: over a block with means m, variances v and
covariance c, ``Q = 4 c m_x m_y / ((v_x + v_y) (m_x^2 + m_y^2))``, and its mean over blocks.

Implementations differ in the following points, and so do their numbers:

- Blocks do not overlap and cover the same ground at both resolutions: :data:`BLOCK` LR pixels, s times as many HR
  pixels (at s = 4 the common 32). They cover the whole scene: where its size is not a multiple of the block, blocks
  are larger, at most twice.
- As in the program of Wang & Bovik, two constant bands have ``Q = 2 m_x m_y / (m_x^2 + m_y^2)``; bands that are
  both zero, or both of zero mean, have Q = 1.
- A negative Q of a pair of bands counts as Q = 0, unrelated, so that no distortion exceeds 1.
- Each band of the HR-MSI takes the role of the panchromatic band in turn: D_s is the mean over all pairs of an HSI
  band and an MSI band.

D_lambda alone does not measure quality: the LR-HSI with every pixel repeated has D_lambda = 0.
"""

from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask, coarse_valid
from hsipipe.artifacts.views import Cube
from hsipipe.degradation.api import check_scale
from hsipipe.degradation.masked import downsampled
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.errors import DataError
from hsipipe.evaluation.cubes import Array, as_cube, check_lr

if TYPE_CHECKING:
    import xarray as xr

BLOCK = 8
"""Edge in LR pixels of the blocks of the Q index; 8 is the window of Wang & Bovik."""

_CONSTANT = 1e-20
"""Variance over squared mean below which a block is constant: rounding errors leave about 1e-31."""

_LEAST_VALID = 0.5
"""Share of the LR pixels of a block that must have data."""

_Box = tuple[slice, slice]


def d_lambda(
    sr: "NDArray[Any] | xr.DataArray",
    lr: "NDArray[Any] | xr.DataArray",
    *,
    block: int = BLOCK,
    valid: Mask | None = None,
) -> float:
    """Spectral distortion: 0 is best, 1 is worst.

    The mean over all pairs of bands of ``|Q(sr_i, sr_j) - Q(lr_i, lr_j)|``, without exception.

    Args:
        sr: Fused cube (C, H, W).
        lr: LR-HSI (C, h, w), H = s h and W = s w.
        block: Edge of a block in LR pixels.
        valid: Pixels with data (H, W); only they count, in blocks with data in half of the LR pixels. None: all.

    Returns:
        0 to 1; NaN for a single band, which forms no pair.

    Raises:
        DataError: Wrong ranks, band counts or extents, or NaN; the message says what to do.
    """
    fused, low = as_cube(sr, "sr"), as_cube(lr, "lr")
    scale = _ratio(fused, low)
    bands = len(low)
    if bands < 2:
        return float("nan")
    coarse = None if valid is None else coarse_valid(valid, scale)
    kept = _kept_blocks(low, block, coarse)
    q_low = _q_index(low, low, _blocks(low, block, scale=1), coarse, kept)
    q_high = _q_index(fused, fused, _blocks(low, block, scale=scale), valid, kept)
    # The diagonal is Q of a band with itself and contributes zero.
    return float(np.abs(q_high - q_low).sum() / (bands * (bands - 1)))


def d_s(
    sr: "NDArray[Any] | xr.DataArray",
    lr: "NDArray[Any] | xr.DataArray",
    msi: "NDArray[Any] | xr.DataArray",
    *,
    scale: int,
    psf: Psf = BICUBIC,
    block: int = BLOCK,
    valid: Mask | None = None,
) -> float:
    """Spatial distortion: 0 is best, 1 is worst.

    The mean over all pairs of an HSI band i and an MSI band k of ``|Q(sr_i, msi_k) - Q(lr_i, low_k)|``, where `low`
    is the HR-MSI as the LR sensor would see it.

    Args:
        sr: Fused cube (C, H, W).
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes, s.
        psf: PSF of the LR sensor; reduces the HR-MSI.
        block: Edge of a block in LR pixels.
        valid: Pixels with data (H, W), as for :func:`d_lambda`.

    Returns:
        0 to 1.

    Raises:
        DataError: Wrong ranks, band counts, extents or scale, or NaN; the message says what to do.
        ParamsError: The PSF does not fit the scale.
    """
    scale = check_scale(scale)
    fused, low, fine = as_cube(sr, "sr"), as_cube(lr, "lr"), as_cube(msi, "msi")
    check_lr(low, fused, scale)
    if fine.shape[1:] != fused.shape[1:]:
        raise DataError(
            f"msi has shape {fine.shape}, expected {fused.shape[1]} x {fused.shape[2]} pixels as sr; "
            "crop both to the same region."
        )
    parts = [(part, seen) for _, part, seen in downsampled(fine, scale, psf=psf, valid=valid)]
    reduced = np.concatenate([part for part, _ in parts], axis=1)
    coarse = None
    if valid is not None:
        coarse = np.concatenate([seen for _, seen in parts]) & coarse_valid(valid, scale)
    kept = _kept_blocks(low, block, coarse)
    q_low = _q_index(low, reduced, _blocks(low, block, scale=1), coarse, kept)
    q_high = _q_index(fused, fine, _blocks(low, block, scale=scale), valid, kept)
    return float(np.abs(q_high - q_low).mean())


def without_truth(
    sr: "NDArray[Any] | xr.DataArray",
    lr: "NDArray[Any] | xr.DataArray",
    msi: "NDArray[Any] | xr.DataArray",
    *,
    scale: int,
    psf: Psf = BICUBIC,
    block: int = BLOCK,
) -> dict[str, float]:
    """Compute all three: ``d_lambda``, ``d_s`` and ``qnr``; see :func:`d_lambda`, :func:`d_s` and :func:`qnr`."""
    spatial = d_s(sr, lr, msi, scale=scale, psf=psf, block=block)
    spectral = d_lambda(sr, lr, block=block)
    return {"d_lambda": spectral, "d_s": spatial, "qnr": qnr(spectral, spatial)}


def qnr(d_lambda: float, d_s: float) -> float:
    """Quality with no reference, QNR: ``(1 - D_lambda) (1 - D_s)``, 0 to 1, 1 is best; NaN for a single band.

    Args:
        d_lambda: See :func:`d_lambda`.
        d_s: See :func:`d_s`.
    """
    return (1 - d_lambda) * (1 - d_s)


def _ratio(fused: Cube, low: Cube) -> int:
    """The scale that follows from the shapes."""
    ratios = [high / size if size else 0.0 for high, size in zip(fused.shape[1:], low.shape[1:], strict=True)]
    if len(fused) != len(low) or ratios[0] != ratios[1] or ratios[0] < 1 or ratios[0] % 1:
        raise DataError(
            f"sr has shape {fused.shape}, lr has {low.shape}: expected the same bands and s times its rows and columns "
            "for one whole number s; give the LR cube that sr was made from."
        )
    return int(ratios[0])


def _blocks(low: Cube, block: int, *, scale: int) -> list[_Box]:
    """Blocks of at least `block` LR pixels that cover `low`, as slices of a grid that is `scale` times finer."""
    if block < 2:
        raise DataError(f"A block of the Q index has an edge of 2 LR pixels or more, got {block}.")
    return [
        (rows, columns) for rows in _cuts(low.shape[1], block, scale) for columns in _cuts(low.shape[2], block, scale)
    ]


def _cuts(size: int, block: int, scale: int) -> Iterator[slice]:
    count = max(1, size // block)
    edges = [size * number // count * scale for number in range(count + 1)]
    return (slice(start, stop) for start, stop in pairwise(edges))


def _kept_blocks(low: Cube, block: int, coarse: Mask | None) -> list[bool]:
    """Tell for each block whether half of its LR pixels have data."""
    boxes = _blocks(low, block, scale=1)
    return [coarse is None or bool(coarse[box].mean() >= _LEAST_VALID) for box in boxes]


def _q_index(a: Cube, b: Cube, boxes: list[_Box], valid: Mask | None, kept: list[bool]) -> NDArray[np.float64]:
    """Q of each band of `a` (A, y, x) with each of `b` (B, y, x), mean over blocks, at least zero: (A, B).

    Only valid pixels (y, x) of the kept blocks count; NaN without a kept block.
    """
    if not any(kept):
        return np.full((len(a), len(b)), np.nan)
    total = np.zeros((len(a), len(b)))
    for rows, row in groupby(zip(boxes, kept, strict=True), key=lambda entry: entry[0][0]):
        strip_a = a[:, rows]
        strip_b = strip_a if b is a else b[:, rows]
        for (_, columns), is_kept in row:
            if is_kept:
                inside = np.s_[:] if valid is None else valid[rows, columns]
                cut_a = strip_a[:, :, columns][:, inside]
                total += _q_of_block(cut_a, cut_a if b is a else strip_b[:, :, columns][:, inside])
    return np.maximum(total / sum(kept), 0.0)


def _q_of_block(a: Array, b: Array) -> NDArray[np.float64]:
    """Q of each band of a block (A, ...) with each of another one (B, ...): (A, B)."""
    centred_a, mean_a, var_a = _moments(a)
    centred_b, mean_b, var_b = (centred_a, mean_a, var_a) if b is a else _moments(b)
    covariance = centred_a @ centred_b.T / centred_a.shape[1]
    spread = var_a[:, None] + var_b
    level = np.square(mean_a)[:, None] + np.square(mean_b)
    # A factor that would be 0 / 0 is 1.
    contrast = np.divide(2 * covariance, spread, out=np.ones_like(spread), where=spread > 0)
    luminance = np.divide(2 * np.outer(mean_a, mean_b), level, out=np.ones_like(level), where=level > 0)
    return np.where((spread > 0) & (level == 0), 1.0, contrast * luminance)


def _moments(block: Array) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Values minus their mean (C, n), means (C,) and variances (C,); exactly zero deviation in a constant band."""
    values = np.array(block, dtype=np.float64).reshape(len(block), -1)
    mean = values.mean(axis=1)
    values -= mean[:, None]
    variance = np.square(values).mean(axis=1)
    constant = variance <= _CONSTANT * np.square(mean)
    values[constant], variance[constant] = 0.0, 0.0
    return values, mean, variance
