"""Losses between cubes as pure functions of (B, C, H, W): arXiv 2402.17285, eq. 5, and those of published networks."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hsipipe.params import LossParams, PublishedLossParams


def at_valid(x: Tensor, y: Tensor, valid: Tensor | None) -> Tensor:
    """Return x with the values of y in the pixels without data, so that their error and their gradient are zero.

    A mean over all pixels is then a sum over the valid ones divided by the size of the batch: each valid pixel counts
    alike in every batch, and parts of a batch add up to the whole.

    Args:
        x: Estimate (B, ..., H, W).
        y: Its target, of the same shape.
        valid: Above 0 for data (B, 1, H, W); None: all pixels have data.
    """
    if valid is None:
        return x
    mask = valid.reshape(len(valid), *(1,) * (x.ndim - 3), *valid.shape[-2:]) > 0
    return torch.where(mask, x, y)


def whole_cells(valid: Tensor | None, scale: int) -> Tensor | None:
    """Return the LR pixels (B, 1, h, w) whose HR pixels all have data, for :func:`at_valid`; None: all.

    The others were observed from a part of their ground, so that a degraded estimate of all of it is another quantity.

    Args:
        valid: Above 0 for data (B, 1, H, W); None: all.
        scale: Ratio of the pixel sizes s.
    """
    return None if valid is None else 1 - F.max_pool2d((valid <= 0).float(), scale)


def spectral_angle(x: Tensor, y: Tensor) -> Tensor:
    """Mean angle between the spectra, divided by pi.

    It uses the arctan of the half-angle form instead of arccos, because its gradient stays finite for equal spectra
    (Kahan, "How futile are mindless assessments of roundoff", section 12).
    """
    x, y = F.normalize(x, dim=1, eps=1e-4), F.normalize(y, dim=1, eps=1e-4)
    apart = (x - y).square().sum(dim=1).add(1e-10).sqrt()
    along = (x + y).square().sum(dim=1).add(1e-10).sqrt()
    return 2 * torch.atan2(apart, along).mean() / math.pi


def gradient_difference(x: Tensor, y: Tensor) -> Tensor:
    """L1 error of the finite differences along x, y and band, averaged over the three axes.

    A single band has no difference along the bands, so that this term is zero.
    """
    terms = [_mean((x.diff(dim=dim) - y.diff(dim=dim)).abs()) for dim in (1, 2, 3)]
    return torch.stack(terms).mean()


def _mean(x: Tensor) -> Tensor:
    """Return the mean; zero of nothing, where torch gives NaN."""
    return x.mean() if x.numel() else x.sum()


def cube_loss(x: Tensor, y: Tensor, weights: LossParams) -> Tensor:
    """Weighted sum of the loss terms, without the perceptual one."""
    total = weights.l1 * (x - y).abs().mean()
    if weights.sam:
        total = total + weights.sam * spectral_angle(x, y)
    if weights.gradient:
        total = total + weights.gradient * gradient_difference(x, y)
    return total


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Sum of the squared errors of an image, averaged over the batch."""
    return (x - y).square().sum() / len(x)


def squared_variation(x: Tensor) -> Tensor:
    """Mean squared finite difference along y, plus that along x, plus twice that along the bands.

    Source: the published code of SSPSR (arXiv 2005.08752).
    """
    band, y, width = (_mean(x.diff(dim=dim).square()) for dim in (1, 2, 3))
    return y + width + 2 * band


def edge_difference(x: Tensor, y: Tensor) -> Tensor:
    """L1 error of the gradient magnitudes, where the differences along x, y and band all exist.

    Source: the published code of GELIN (IEEE TGRS 60, 2022).
    """
    return _mean((_gradient_magnitude(x) - _gradient_magnitude(y)).abs())


def _gradient_magnitude(x: Tensor) -> Tensor:
    inner = x[:, 1:, 1:, 1:]
    moved = (x[:, :-1, 1:, 1:], x[:, 1:, :-1, 1:], x[:, 1:, 1:, :-1])
    total = sum(((inner - other).square() for other in moved), start=torch.full_like(inner, 1e-6))
    return total.sqrt()


def published_loss(x: Tensor, y: Tensor, weights: PublishedLossParams) -> Tensor:
    """Weighted sum of the loss terms of published networks.

    Args:
        x: Prediction.
        y: Truth.
        weights: Weights of the terms; one of weight 0 is not computed.
    """
    total = cube_loss(x, y, weights)
    if weights.squares:
        total = total + weights.squares * squared_error(x, y)
    if weights.variation:
        total = total + weights.variation * squared_variation(x)
    if weights.edges:
        total = total + weights.edges * edge_difference(x, y)
    return total
