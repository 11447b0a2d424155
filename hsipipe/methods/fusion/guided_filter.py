"""Interpolation of an LR image guided by a finer image: local linear regression.

The guided filter (He, Sun and Tang 2013, DOI 10.1109/TPAMI.2012.213, eq. 19 to 21 for a guide of several channels). Its
coefficients are computed on the coarse grid, as in the fast guided filter (arXiv 1505.00996). The regularisation pulls
them to the coefficients of the whole scene instead of zero, which matters in windows of low variance.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_RIDGE = 1e-5
"""Regularisation: variance in units of the full range squared, below which the prior dominates a window."""


def guided_upsample(z: Tensor, coarse: Tensor, fine: Tensor, *, radius: int, prior: Tensor) -> Tensor:
    """Interpolate `z` to the grid of the guide.

    Args:
        z: (B, L, h, w).
        coarse: The guide, degraded by the sensor of `z`, (B, c, h, w).
        fine: The guide (B, c, H, W).
        radius: The windows have 2 radius + 1 pixels of `z` on a side.
        prior: Coefficients (B, L, c) that apply where the guide hardly varies in a window.

    Returns:
        (B, L, H, W).
    """
    guides, channels = coarse.shape[1], z.shape[1]
    mean_guide, mean_z = _mean(coarse, radius), _mean(z, radius)
    within = _products(coarse, coarse, radius) - mean_guide[:, :, None] * mean_guide[:, None]
    between = _products(coarse, z, radius) - mean_guide[:, :, None] * mean_z[:, None]
    ridge = _RIDGE * torch.eye(guides, dtype=z.dtype, device=z.device)
    slopes = torch.linalg.solve(
        within.permute(0, 3, 4, 1, 2) + ridge,
        between.permute(0, 3, 4, 1, 2) + _RIDGE * prior.transpose(1, 2)[:, None, None],
    )
    offsets = mean_z - torch.einsum("bhwkl,bkhw->blhw", slopes, mean_guide)
    # A pixel is in several windows; averaging their coefficients gives a smoother result.
    slopes = _mean(slopes.flatten(3).permute(0, 3, 1, 2), 1)
    size = (fine.shape[2], fine.shape[3])
    a = F.interpolate(slopes, size=size, mode="bilinear").reshape(len(z), guides, channels, *size)
    b = F.interpolate(_mean(offsets, 1), size=size, mode="bilinear")
    return torch.einsum("bklhw,bkhw->blhw", a, fine) + b


def _mean(x: Tensor, radius: int) -> Tensor:
    """Average over the part of each pixel's window that is inside the image."""
    pooled: Tensor = F.avg_pool2d(x, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)
    return pooled


def _products(x: Tensor, y: Tensor, radius: int) -> Tensor:
    """Average the products of channels over windows, (B, channels of x, channels of y, h, w)."""
    both = (x[:, :, None] * y[:, None]).flatten(1, 2)
    return _mean(both, radius).reshape(len(x), x.shape[1], y.shape[1], *x.shape[2:])
