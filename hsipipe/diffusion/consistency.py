"""Consistency of a prediction with the observations of the sensors."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hsipipe.degradation.bicubic import resize_matrix
from hsipipe.degradation.psf import BICUBIC, Psf

_LEAST_SEEN = 0.1
"""Singular values below this share of the largest are damped in the pseudo-inverse: a wide PSF leaves patterns of such
low contrast that mainly their noise would be amplified."""
_LOADING = 1e-5
"""Diagonal loading as a share of the mean variance of the spectra, for directions that a small scene does not cover."""
_RIDGE = 1e-9
"""Ridge as a share of the mean power of the HR-MSI bands, for bands with equal responses."""


class Resampler:
    """Degradation by a PSF and bicubic interpolation, for torch tensors of one size.

    Args:
        height: H of the high-resolution image.
        width: W of the high-resolution image.
        scale: Ratio of the pixel sizes s.
        like: Tensor with the dtype and device.
        psf: PSF of the LR sensor.
    """

    def __init__(self, height: int, width: int, *, scale: int, like: Tensor, psf: Psf = BICUBIC) -> None:
        self._size, self._scale, self._psf = (height, width), scale, psf
        self._like = like.new_zeros(())
        self._down, self._up = (
            tuple(torch.from_numpy(matrix).to(like) for matrix in matrices)
            for matrices in (
                [psf.matrix(n, scale) for n in (height, width)],
                [resize_matrix(n // scale, n) for n in (height, width)],
            )
        )

    def down(self, x: Tensor) -> Tensor:
        """Degrade (..., H, W) to (..., h, w)."""
        return self._down[0] @ x @ self._down[1].T

    def up(self, x: Tensor) -> Tensor:
        """Interpolate (..., h, w) to (..., H, W)."""
        return self._up[0] @ x @ self._up[1].T

    def down_up(self, x: Tensor) -> Tensor:
        """Interpolate and degrade again (..., h, w), on the LR grid alone: ``down(up(x))`` up to rounding."""
        rows, columns = (down @ up for down, up in zip(self._down, self._up, strict=True))
        return rows @ x @ columns.T

    def back(self, x: Tensor) -> Tensor:
        """Apply the pseudo-inverse of :meth:`down`: the least-norm image (..., H, W) that degrades to `x` (..., h, w).

        The amplification is limited to a factor of ten, so patterns of very low contrast are not reproduced exactly.
        """
        (left_rows, _, right_rows), (left_columns, _, right_columns), gain = self._decomposed
        seen = left_rows.T @ x @ left_columns
        return right_rows.T @ (gain * seen) @ right_columns

    @cached_property
    def _decomposed(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        rows, columns = (
            tuple(torch.from_numpy(part).to(self._like) for part in _singular(self._psf, n, self._scale))
            for n in self._size
        )
        contrast = rows[1][:, None] * columns[1]
        return rows, columns, contrast / contrast.clamp_min(_LEAST_SEEN * float(contrast.max())).square()


@lru_cache(maxsize=32)
def _singular(psf: Psf, n: int, scale: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute the singular value decomposition of the downsampling of one axis of `n` pixels."""
    left, values, right = np.linalg.svd(psf.matrix(n, scale), full_matrices=False)
    return left, values, right


def back_project(sr: Tensor, lr: Tensor, *, resampler: Resampler, iterations: int) -> Tensor:
    """Repeat the back-projection sr + up(lr - down(sr)).

    Source: Irani and Peleg 1991, https://doi.org/10.1016/1049-9652(91)90045-L, eq. 3.

    Args:
        sr: (..., H, W).
        lr: (..., h, w).
        resampler: Resampler of the same sizes.
        iterations: 0 returns `sr` unchanged.
    """
    for _ in range(iterations):
        sr = sr + resampler.up(lr - resampler.down(sr))
    return sr


@dataclass(frozen=True, eq=False)
class PairObservation:
    """The observations of two sensors for a batch of scenes, and the projection onto the cubes consistent with them.

    Attributes:
        lr: LR-HSI (B, C, h, w).
        msi: HR-MSI (B, c, H, W).
        resampler: Resampler of the LR sensor.
        response: Spectral response R of the MSI sensor (c, C).
        gain: Inverse of R for the spectra of the scene, (B, C, c), see :func:`spectral_gain`.
    """

    lr: Tensor
    msi: Tensor
    resampler: Resampler
    response: Tensor
    gain: Tensor

    def project(self, sr: Tensor) -> Tensor:
        """Return the cube nearest to `sr` (B, C, H, W) that is consistent with both observations.

        The PSF mixes pixels and the response mixes bands, so the two corrections commute: the second one preserves the
        first if the observations agree, and one pass is enough. If they disagree, through noise or an incomplete
        response, the result is consistent with the LR-HSI, whose spectra are wanted, and with the HR-MSI as far as the
        gain weights it.
        """
        seen = torch.einsum("kc,bchw->bkhw", self.response, sr)
        sr = sr + torch.einsum("bck,bkhw->bchw", self.gain, self.msi - seen)
        return sr + self.resampler.back(self.lr - self.resampler.down(sr))


def disagreement(lr: Tensor, msi: Tensor, *, resampler: Resampler, response: Tensor) -> Tensor:
    """Compute second moments (B, c, c) of the residual of the degraded HR-MSI: noise, offsets, differing units.

    Args:
        lr: (B, C, h, w).
        msi: (B, c, H, W).
        resampler: Resampler of the LR sensor.
        response: R (c, C).
    """
    missed = (resampler.down(msi) - torch.einsum("kc,bchw->bkhw", response, lr)).flatten(2).double()
    moments = missed @ missed.transpose(1, 2) / missed.shape[2]
    return moments.to(lr)


def detail_moments(lr: Tensor) -> Tensor:
    """Compute second moments (B, C, C) of the differences of the LR-HSI to its 3 x 3 mean.

    They approximate those of the error of a high-resolution estimate, which lacks detail rather than the variety of the
    whole scene.

    Args:
        lr: (B, C, h, w).
    """
    fine = detail(lr).flatten(2).double()
    moments = fine @ fine.transpose(1, 2) / fine.shape[2]
    return moments.to(lr)


def detail(lr: Tensor) -> Tensor:
    """Subtract from images (B, C, h, w) their 3 x 3 means, at the edges those of the pixels that are there."""
    return lr - F.avg_pool2d(lr, 3, stride=1, padding=1, count_include_pad=False)


def spectral_gain(response: Tensor, covariance: Tensor, noise: Tensor | None = None) -> Tensor:
    """Compute the Wiener filter S R' (R S R' + N)^-1, which maps a difference in broad bands to narrow bands.

    It is the best linear estimate of a spectrum of covariance S from its broad bands: it distributes a difference as
    the details of the scene vary, and gives a lower weight to a broad band with a larger residual.

    Args:
        response: R (c, C).
        covariance: S (B, C, C) of the missing detail, see :func:`detail_moments`.
        noise: N (B, c, c), see :func:`disagreement`; None: the two images agree exactly.

    Returns:
        (B, C, c).
    """
    wide = response.double()
    spectra = covariance.double()
    identity = torch.eye(spectra.shape[-1], dtype=spectra.dtype, device=spectra.device)
    variance = spectra.diagonal(dim1=-2, dim2=-1).mean(dim=-1).clamp_min(1e-12)
    cross = (spectra + _LOADING * variance[:, None, None] * identity) @ wide.T
    inner = wide @ cross + (0.0 if noise is None else noise.double())
    power = inner.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    inner = inner + _RIDGE * power[:, None, None] * torch.eye(len(wide), dtype=inner.dtype, device=inner.device)
    gain: Tensor = torch.linalg.solve(inner, cross, left=False)
    return gain.to(response)
