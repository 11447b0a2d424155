"""Losses between cubes as pure functions of (B, C, H, W): the terms of arXiv 2402.17285, eq. 5."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hsipipe.params import LossParams


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
    """L1 error of the finite differences along x, y and band, averaged over the three axes."""
    terms = [(x.diff(dim=dim) - y.diff(dim=dim)).abs().mean() for dim in (1, 2, 3)]
    return torch.stack(terms).mean()


def cube_loss(x: Tensor, y: Tensor, weights: LossParams) -> Tensor:
    """Weighted sum of the loss terms, without the perceptual one."""
    total = weights.l1 * (x - y).abs().mean()
    if weights.sam:
        total = total + weights.sam * spectral_angle(x, y)
    if weights.gradient:
        total = total + weights.gradient * gradient_difference(x, y)
    return total
