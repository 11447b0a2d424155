"""Compare a prediction with interpolation, without the truth.

Two questions are asked. Does the model beat interpolation on this scene at a coarser resolution, where the truth is
known: the LR-HSI, predicted from its own degradation (the protocol of Wald et al. 1997)? And is the detail that it adds
here plausible: no stronger than what interpolation misses at that coarser resolution, and no pattern that repeats with
every LR pixel, which a network makes that is applied outside of its training?
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.super_resolver import SuperResolver

Guard = Literal["warn", "fallback", "off"]
GUARDS: tuple[Guard, ...] = ("warn", "fallback", "off")
Image = NDArray[np.floating[Any]]

BLOCK = 8
"""Edge of a block in LR pixels, the unit in which detail is judged."""
LOSS_DB = 0.5
"""Loss against interpolation at the coarser resolution above which the whole scene is doubtful."""
DETAIL = 4.0
"""Energy of the added detail, relative to what interpolation misses at the coarser resolution, that is implausible."""
GRID, GRID_DETAIL = 0.5, 1.0
"""Share of the energy of the added detail in a pattern with the period of an LR pixel that is implausible, if that
energy is at least what interpolation misses, times this."""
_LEAST = 0.003
"""Deviation, of the full range, below which added detail is invisible."""
_SMALLEST = 4
"""Smallest edge of the coarser image in pixels."""
_MARGIN = 4
"""LR rows around a strip, as many as its interpolation depends on."""
_LARGEST = 512
"""Largest edge of the part of a scene that is predicted at the coarser resolution."""


@dataclass(frozen=True)
class Judgement:
    """What speaks against a prediction.

    Attributes:
        gain_db: MPSNR above interpolation at the coarser resolution; None: the scene is too small.
        doubtful: Blocks (rows, columns) of implausible detail.
        detail: Energy of the added detail relative to what is plausible, by block.
        grid: Share of that energy in a pattern with the period of an LR pixel, by block.
    """

    gain_db: float | None
    doubtful: NDArray[np.bool_]
    detail: NDArray[np.float64]
    grid: NDArray[np.float64]

    @property
    def loses(self) -> bool:
        """Return True if the model loses against interpolation at the coarser resolution."""
        return self.gain_db is not None and self.gain_db < -LOSS_DB

    def warnings(self) -> list[str]:
        """Return what speaks against the prediction, one sentence each."""
        told = []
        if self.loses and self.gain_db is not None:
            told.append(
                f"at the next coarser resolution of this scene the model is {-self.gain_db:.1f} dB worse than "
                "interpolation, so it probably is here, too."
            )
        if self.doubtful.any():
            told.append(
                f"{self.doubtful.mean():.1%} of the image has implausible detail: up to {self.detail.max():.3g} times "
                f"the energy that is missing, up to {self.grid[self.doubtful].max():.0%} of it in a pattern that "
                "repeats with every pixel of the input."
            )
        return told


def guarded(
    model: SuperResolver,
    lr: Image,
    sr: NDArray[np.float32],
    *,
    guard: Guard,
    msi: Image | None = None,
    tile: int,
    overlap: int,
) -> tuple[NDArray[np.float32], list[str]]:
    """Judge a prediction; return it with what speaks against it, with `fallback` interpolated where it is doubtful.

    Args:
        model: The model that made it.
        lr: LR-HSI (C, h, w), where 1.0 is the full range.
        sr: Its prediction (C, H, W).
        guard: What to do about a doubtful prediction.
        msi: HR-MSI (c, H, W), for a fusion model.
        tile: Edge of a tile in LR pixels, as in the prediction.
        overlap: Context on each side of a tile in LR pixels.
    """
    if guard == "off":
        return sr, []
    judgement = judge(model, lr, sr, msi=msi, tile=tile, overlap=overlap)
    told = judgement.warnings()
    if not told or guard != "fallback":
        return sr, told
    share = 1.0 if judgement.loses else float(judgement.doubtful.mean())
    return replaced(sr, lr, judgement, scale=model.scale), [*told, f"{share:.1%} of the image is interpolated instead."]


def judge(
    model: SuperResolver, lr: Image, sr: Image, *, msi: Image | None = None, tile: int, overlap: int
) -> Judgement:
    """Judge a prediction.

    Args:
        model: The model that made it.
        lr: LR-HSI (C, h, w), where 1.0 is the full range.
        sr: Its prediction (C, H, W).
        msi: HR-MSI (c, H, W), for a fusion model.
        tile: Edge of a tile in LR pixels, as in the prediction.
        overlap: Context on each side of a tile in LR pixels.
    """
    psf = psf if isinstance(psf := getattr(model, "psf", None), Psf) else BICUBIC
    gain = coarser_gain_db(model, lr, msi=msi, psf=psf, tile=tile, overlap=overlap)
    # With an HR-MSI, detail comes from the image itself, and may be any.
    shape = tuple(-(-n // BLOCK) for n in lr.shape[1:])
    if msi is not None or model.scale == 1:
        return Judgement(gain, np.zeros(shape, bool), np.zeros(shape), np.zeros(shape))
    detail, grid = added_detail(lr, sr, scale=model.scale, psf=psf)
    return Judgement(gain, (detail > DETAIL) | ((grid > GRID) & (detail > GRID_DETAIL)), detail, grid)


def coarser_gain_db(
    model: SuperResolver, lr: Image, *, msi: Image | None, psf: Psf, tile: int, overlap: int
) -> float | None:
    """MPSNR of the model above interpolation in dB, predicting the LR-HSI from its own degradation; None: too small.

    Source: Wald, Ranchin, Mangolini 1997, Photogrammetric Engineering and Remote Sensing 63(6), section 4.
    """
    scale = model.scale
    rows, columns = (_middle(n, scale) for n in lr.shape[1:])
    if scale == 1 or min(rows.stop - rows.start, columns.stop - columns.start) < _SMALLEST * scale:
        return None
    truth = np.ascontiguousarray(lr[:, rows, columns], dtype=np.float32)
    coarse = psf.downsample(truth, scale)
    fine = None
    if msi is not None:
        part = msi[:, rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]
        fine = psf.downsample(np.ascontiguousarray(part, dtype=np.float32), scale)
    predicted = predict_scene(model, coarse, tile=tile, overlap=overlap, msi=fine)
    errors = [np.square(image - truth).mean(axis=(1, 2)) for image in (upsample(coarse, scale), predicted)]
    least = 1e-12
    return float(10 * np.log10(np.maximum(errors[0], least) / np.maximum(errors[1], least)).mean())


def added_detail(lr: Image, sr: Image, *, scale: int, psf: Psf) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energy of the added detail relative to what is plausible, and its share in a grid, by block.

    What interpolation misses from a resolution to the next finer one is known one level below: the difference of the
    LR-HSI and its degradation, interpolated. In natural images it falls with the resolution.

    Args:
        lr: (C, h, w).
        sr: (C, H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.

    Returns:
        Two arrays (rows, columns) of blocks of `BLOCK` x `BLOCK` LR pixels.
    """
    height, width = lr.shape[1:]
    missing = _missing(lr, scale, psf)
    floor = _LEAST**2
    detail, grid = (np.zeros((-(-height // BLOCK), -(-width // BLOCK))) for _ in range(2))
    for row in range(detail.shape[0]):
        added = _minus_interpolation(sr, lr, slice(row * BLOCK, min((row + 1) * BLOCK, height)), scale)
        for column in range(detail.shape[1]):
            block = added[:, :, column * BLOCK * scale : (column + 1) * BLOCK * scale]
            plausible = _around(missing, row, column)
            energy = float(np.square(block).mean())
            detail[row, column] = energy / (plausible + floor)
            grid[row, column] = _grid_energy(block, scale) / max(energy, floor)
    return detail, grid


def replaced(sr: Image, lr: Image, judgement: Judgement, *, scale: int) -> NDArray[np.float32]:
    """Return the prediction with interpolation in its doubtful blocks, or everywhere if the model loses.

    Around a doubtful block the change between the two is linear over half a block.
    """
    height, width = lr.shape[1:]
    if judgement.loses:
        return np.asarray(upsample(lr, scale), dtype=np.float32)
    mask = np.kron(judgement.doubtful, np.ones((BLOCK, BLOCK)))[:height, :width]
    weight = np.clip(4 * _linear(height, scale) @ mask @ _linear(width, scale).T, 0, 1).astype(np.float32)
    result = np.array(sr, dtype=np.float32)
    for band, image in enumerate(result):
        image += weight * (upsample(lr[band], scale) - image)
    return result


def _middle(n: int, scale: int) -> slice:
    """The middle of an axis: a multiple of the scale, at most `_LARGEST`."""
    length = min(n, _LARGEST) // scale * scale
    return slice((n - length) // 2, (n - length) // 2 + length)


def _minus_interpolation(sr: Image, lr: Image, rows: slice, scale: int) -> Image:
    """Subtract the interpolation of a strip of LR rows from the prediction: (C, rows * s, W)."""
    low = max(0, rows.start - _MARGIN)
    up = upsample(np.ascontiguousarray(lr[:, low : rows.stop + _MARGIN]), scale)
    start = (rows.start - low) * scale
    high = sr[:, rows.start * scale : rows.stop * scale]
    return np.asarray(high - up[:, start : start + high.shape[1]])


def _missing(lr: Image, scale: int, psf: Psf) -> NDArray[np.float32]:
    """Energy of what interpolation misses in the LR-HSI from its own degradation: mean over the bands (h, w)."""
    height, width = lr.shape[1:]
    padded = np.pad(lr, ((0, 0), (0, -height % scale), (0, -width % scale)), mode="edge")
    error = padded - upsample(psf.downsample(padded, scale), scale)
    energy: NDArray[np.float32] = np.square(error).mean(axis=0)[:height, :width]
    return energy


def _around(energy: NDArray[np.float32], row: int, column: int) -> float:
    """Mean of the energy over a block and half of its neighbours."""
    margin = BLOCK // 2
    rows, columns = (slice(max(0, n * BLOCK - margin), (n + 1) * BLOCK + margin) for n in (row, column))
    return float(energy[rows, columns].mean())


def _grid_energy(block: Image, scale: int) -> float:
    """Energy of the mean over the LR pixels of a block (C, H, W), less that of its mean."""
    bands, height, width = block.shape
    cells = block.reshape(bands, height // scale, scale, width // scale, scale).mean(axis=(1, 3))
    return float(np.square(cells - cells.mean(axis=(1, 2), keepdims=True)).mean())


def _linear(n: int, scale: int) -> NDArray[np.float64]:
    """Matrix (n * scale, n) of means over half a block in LR pixels, which turns edges of blocks into ramps."""
    centres = (np.arange(n * scale) + 0.5) / scale - 0.5
    weights = np.maximum(0.0, 1 - np.abs(centres[:, None] - np.arange(n)) / (BLOCK / 2))
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised
