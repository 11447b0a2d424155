"""Compare a prediction with interpolation, without the truth.

Two questions are asked. Does the model beat interpolation on this scene at a coarser resolution, where the truth is
known: the LR-HSI, predicted from its own degradation (the protocol of Wald et al. 1997)? And is the detail that it adds
here plausible: no stronger than what interpolation misses at that coarser resolution, and no pattern that repeats with
every LR pixel, which a network makes that is applied outside of its training?
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.banded import apply_both
from hsipipe.degradation.bicubic import bicubic_operator, upsample
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.inference.plan import BLOCK, Box
from hsipipe.inference.same_bits import same_bits
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.super_resolver import SuperResolver

Guard = Literal["warn", "fallback", "off"]
GUARDS: tuple[Guard, ...] = ("warn", "fallback", "off")
Image = NDArray[np.floating[Any]]
Read = Callable[[Box, slice], Image]
"""Reads some bands of a box of the LR-HSI, (bands, rows, columns)."""

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
_BANDS = 32
"""Bands whose detail is judged at once, so that they stay in the cache of the CPU."""
_MOST_BANDS = 64
"""Bands of a cube whose detail is judged, evenly spread over it: neighbours nearly agree, and their mean is judged."""
LARGEST = 512
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

    def as_json(self) -> dict[str, Any]:
        """Return the numbers of the judgement, and its warnings."""
        return {
            "gain_db": self.gain_db,
            "doubtful_share": float(self.doubtful.mean()),
            "largest_detail": float(self.detail.max()),
            "warnings": self.warnings(),
        }

    @property
    def loses(self) -> bool:
        """Return True if the model loses against interpolation at the coarser resolution."""
        return self.gain_db is not None and self.gain_db < -LOSS_DB

    def comparison(self) -> str:
        """Compare the model with interpolation in a line; empty if the scene is too small, or a warning says it."""
        if self.gain_db is None or self.loses:
            return ""
        side = "above" if self.gain_db >= 0 else "below"
        return f"{abs(self.gain_db):.1f} dB {side} interpolation at the next coarser resolution of this scene"

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


Judged = Callable[[Judgement], None]


def guarded(
    model: SuperResolver,
    lr: Image,
    sr: NDArray[np.float32],
    *,
    guard: Guard,
    msi: Image | None = None,
    tile: int,
    overlap: int,
    judged: Judged | None = None,
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
        judged: Called with the judgement.
    """
    if guard == "off":
        return sr, []
    judgement = judge(model, lr, sr, msi=msi, tile=tile, overlap=overlap)
    if judged is not None:
        judged(judgement)
    told = judgement.warnings()
    if not told or guard != "fallback":
        return sr, told
    share = 1.0 if judgement.loses else float(judgement.doubtful.mean())
    return replaced(sr, lr, judgement, scale=model.scale), [*told, f"{share:.1%} of the image is interpolated instead."]


@same_bits()
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
    gain = coarser_gain_db(model, lr, msi=msi, psf=lr_psf(model), tile=tile, overlap=overlap)
    # With an HR-MSI, detail comes from the image itself, and may be any.
    shape = Box(0, lr.shape[1], 0, lr.shape[2]).blocks
    if msi is not None or model.scale == 1:
        return Judgement(gain, np.zeros(shape, bool), np.zeros(shape), np.zeros(shape))
    return judgement_of(gain, *added_detail(lr, sr, scale=model.scale, psf=lr_psf(model)))


def judgement_of(gain_db: float | None, detail: NDArray[np.float64], grid: NDArray[np.float64]) -> Judgement:
    """Judge a prediction by its gain, and the energies of its detail by block as :func:`added_detail` returns them."""
    return Judgement(gain_db, (detail > DETAIL) | ((grid > GRID) & (detail > GRID_DETAIL)), detail, grid)


def lr_psf(model: SuperResolver) -> Psf:
    """Return the PSF of the LR sensor of a model, bicubic for one without."""
    psf = getattr(model, "psf", None)
    return psf if isinstance(psf, Psf) else BICUBIC


def coarser_box(height: int, width: int, *, scale: int) -> Box | None:
    """Return the part of a scene (h, w) that is predicted at the coarser resolution; None: the scene is too small."""
    (y0, y1), (x0, x1) = (_middle(n, scale) for n in (height, width))
    return None if scale == 1 or min(y1 - y0, x1 - x0) < _SMALLEST * scale else Box(y0, y1, x0, x1)


def coarser_gain_db(
    model: SuperResolver, lr: Image, *, msi: Image | None, psf: Psf, tile: int, overlap: int
) -> float | None:
    """MPSNR of the model above interpolation in dB, predicting the LR-HSI from its own degradation; None: too small.

    Source: Wald, Ranchin, Mangolini 1997, Photogrammetric Engineering and Remote Sensing 63(6), section 4.
    """
    scale = model.scale
    box = coarser_box(*lr.shape[1:], scale=scale)
    if box is None:
        return None
    truth = np.ascontiguousarray(lr[box.slices()], dtype=np.float32)
    coarse = psf.downsample(truth, scale)
    fine = None
    if msi is not None:
        fine = psf.downsample(np.ascontiguousarray(msi[box.slices(scale=scale)], dtype=np.float32), scale)
    predicted = predict_scene(model, coarse, tile=tile, overlap=overlap, msi=fine)
    least = 1e-12
    errors = np.maximum([_errors(*bands, scale) for bands in zip(coarse, predicted, truth, strict=True)], least)
    return float(10 * np.log10(errors[:, 0] / errors[:, 1]).mean())


def _errors(coarse: Image, predicted: Image, truth: Image, scale: int) -> tuple[float, float]:
    """Mean squared errors of a band: of the interpolation, and of the prediction."""
    interpolated = upsample(coarse, scale)
    return float(np.square(interpolated - truth).mean()), float(np.square(predicted - truth).mean())


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
    _, height, width = lr.shape

    def read(box: Box, bands: slice) -> Image:
        return lr[(bands, *box.slices()[1:])]

    return box_detail(read, (height, width), Box(0, height, 0, width), sr, scale=scale, psf=psf)


def box_detail(
    read: Read, shape: tuple[int, int], box: Box, sr: Image, *, scale: int, psf: Psf
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As :func:`added_detail`, for a part of a scene.

    Args:
        read: Reads the LR-HSI, also around the part.
        shape: Rows and columns (h, w) of the LR-HSI.
        box: The part; it consists of whole blocks.
        sr: The prediction of the part (C, H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
    """
    around = _grown(box, _MARGIN + _reach(psf, scale), shape, multiple=scale)
    judged = slice(None, None, -(-len(sr) // _MOST_BANDS))
    lr, sr = read(around, judged), sr[judged]
    missing, floor = _missing(lr, scale, psf), _LEAST**2
    detail, grid = (np.zeros(box.blocks) for _ in range(2))
    for row in range(detail.shape[0]):
        y0 = box.y0 + row * BLOCK
        strip = Box(y0, min(y0 + BLOCK, box.y1), box.x0, box.x1)
        predicted = sr[strip.slices(scale=scale, origin=(box.y0, box.x0))]
        energies, in_grid = np.zeros((2, detail.shape[1]))
        for first in range(0, len(sr), _BANDS):
            bands = slice(first, first + _BANDS)
            added = _minus_interpolation(predicted[bands], lr[bands], strip, around=around, shape=shape, scale=scale)
            energies, in_grid = (
                total + part * (len(added) / len(sr))
                for total, part in zip((energies, in_grid), _energies(added, scale), strict=True)
            )
        for column, energy in enumerate(energies):
            x0 = box.x0 + column * BLOCK
            near = _grown(Box(y0, y0 + BLOCK, x0, x0 + BLOCK), BLOCK // 2, shape)
            plausible = float(missing[near.slices(origin=(around.y0, around.x0))[1:]].mean())
            detail[row, column] = energy / (plausible + floor)
            grid[row, column] = in_grid[column] / max(energy, floor)
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


def _middle(n: int, scale: int) -> tuple[int, int]:
    """The middle of an axis: a multiple of the scale, at most `LARGEST`."""
    length = min(n, LARGEST) // scale * scale
    return (n - length) // 2, (n - length) // 2 + length


def _reach(psf: Psf, scale: int) -> int:
    """Return how many LR pixels around a pixel change its degradation, interpolated."""
    width = psf.width(scale)
    kernel = 2 * scale if width is None else (psf.size or 8 * math.ceil(width)) // 2 + 1
    return kernel + 3 * scale


def _grown(box: Box, margin: int, shape: tuple[int, int], *, multiple: int = 1) -> Box:
    """Grow a box on each side, up to the edges of the scene; its ends inside of the scene are multiples."""

    def low(n: int) -> int:
        return max(0, n - margin) // multiple * multiple

    def high(n: int, most: int) -> int:
        return min(most, -(-(n + margin) // multiple) * multiple)

    return Box(low(box.y0), high(box.y1, shape[0]), low(box.x0), high(box.x1, shape[1]))


def _minus_interpolation(sr: Image, lr: Image, strip: Box, *, around: Box, shape: tuple[int, int], scale: int) -> Image:
    """Subtract the interpolation of a strip from its prediction (C, H, W).

    Args:
        sr: Prediction of the strip.
        lr: LR-HSI of `around`.
        strip: The strip.
        around: A box with the strip and `_MARGIN` pixels on each side.
        shape: Rows and columns of the scene.
        scale: Ratio of the pixel sizes s.
    """
    near = _grown(strip, _MARGIN, shape)
    inside = strip.slices(scale=scale, origin=(near.y0, near.x0))
    rows, columns = (bicubic_operator(n, n * scale) for n in (near.y1 - near.y0, near.x1 - near.x0))
    # The rows of the margin are read, but not interpolated.
    window = rows.window(inside[1])
    fine = lr[near.slices(origin=(around.y0, around.x0))][:, window]
    up = apply_both(np.ascontiguousarray(fine), rows, columns, outputs=inside[1])
    return np.asarray(sr - up[:, :, inside[2]])


def _missing(lr: Image, scale: int, psf: Psf) -> NDArray[np.float32]:
    """Energy of what interpolation misses in the LR-HSI from its own degradation: mean over the bands (h, w)."""
    height, width = lr.shape[1:]
    padded = np.pad(lr, ((0, 0), (0, -height % scale), (0, -width % scale)), mode="edge")
    error = padded - upsample(psf.downsample(padded, scale), scale)
    energy: NDArray[np.float32] = np.square(error).mean(axis=0)[:height, :width]
    return energy


def _energies(strip: Image, scale: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energy of each block of a strip (C, H, W) of blocks, and that of its mean over the LR pixels, less its mean."""
    bands, height, width = strip.shape
    starts = np.arange(0, width // scale, BLOCK)
    pixels = np.diff(np.append(starts, width // scale))
    energy = np.add.reduceat(np.einsum("chw,chw->w", strip, strip), starts * scale).astype(np.float64)
    energy /= bands * height * scale * pixels
    # By rows first: sums of long rows are fast.
    cells = strip.reshape(bands, height // scale, scale, width).sum(axis=1)
    cells = np.add.reduceat(cells.reshape(bands, scale, width // scale, scale), starts, axis=2)
    cells /= (pixels * (height // scale))[:, None]
    cells -= cells.mean(axis=(1, 3), keepdims=True)
    return energy, np.asarray(np.square(cells).mean(axis=(0, 1, 3)), dtype=np.float64)


def _linear(n: int, scale: int) -> NDArray[np.float64]:
    """Matrix (n * scale, n) of means over half a block in LR pixels, which turns edges of blocks into ramps."""
    centres = (np.arange(n * scale) + 0.5) / scale - 0.5
    weights = np.maximum(0.0, 1 - np.abs(centres[:, None] - np.arange(n)) / (BLOCK / 2))
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised
