"""Observation consistency: the degraded output must equal the LR input."""

import torch
from torch import Tensor

from hsipipe.degradation.bicubic import resize_matrix
from hsipipe.degradation.psf import BICUBIC, Psf


class Resampler:
    """The degradation by a PSF and bicubic interpolation, on torch tensors of one size.

    Args:
        height: H of the high-resolution image.
        width: W of the high-resolution image.
        scale: Ratio s.
        like: Gives dtype and device.
        psf: Of the LR sensor.
    """

    def __init__(self, height: int, width: int, *, scale: int, like: Tensor, psf: Psf = BICUBIC) -> None:

        self._down, self._up = (
            tuple(torch.from_numpy(matrix).to(like) for matrix in matrices)
            for matrices in (
                [psf.matrix(n, scale) for n in (height, width)],
                [resize_matrix(n // scale, n) for n in (height, width)],
            )
        )

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
