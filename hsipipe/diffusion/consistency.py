"""Observation consistency: the degraded output must equal the LR input."""

import torch
from torch import Tensor

from hsipipe.degradation.bicubic import resize_matrix


class Resampler:
    """The project's bicubic degradation and interpolation on torch tensors of one size.

    Args:
        height: H of the high-resolution image.
        width: W of the high-resolution image.
        scale: Ratio s.
        like: Gives dtype and device.
    """

    def __init__(self, height: int, width: int, *, scale: int, like: Tensor) -> None:
        def matrix(n_in: int, n_out: int) -> Tensor:
            return torch.from_numpy(resize_matrix(n_in, n_out)).to(like)

        self._down = matrix(height, height // scale), matrix(width, width // scale)
        self._up = matrix(height // scale, height), matrix(width // scale, width)

    def down(self, x: Tensor) -> Tensor:
        """(..., H, W) to (..., h, w)."""
        return self._down[0] @ x @ self._down[1].T

    def up(self, x: Tensor) -> Tensor:
        """(..., h, w) to (..., H, W)."""
        return self._up[0] @ x @ self._up[1].T


def back_project(sr: Tensor, lr: Tensor, *, resampler: Resampler, iterations: int) -> Tensor:
    """Iterative back-projection: sr + up(lr - down(sr)), repeated.

    Source: Irani and Peleg 1991, https://doi.org/10.1016/1049-9652(91)90045-L, eq. 3.

    Args:
        sr: (..., H, W).
        lr: (..., h, w).
        resampler: Of the same sizes.
        iterations: 0 returns `sr` unchanged.
    """
    for _ in range(iterations):
        sr = sr + resampler.up(lr - resampler.down(sr))
    return sr
