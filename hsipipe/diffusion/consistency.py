"""Observation consistency: what a prediction must look like to the sensors that saw the scene."""

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
"""Share of its contrast that a pattern keeps in the LR image at least; of one that keeps less, noise would be all that
is amplified, and a wide PSF leaves such patterns."""
_LOADING = 1e-5
"""Share of the spectra's mean variance that every direction has: what a small scene never shows can still be needed."""
_RIDGE = 1e-9
"""Share of the mean power of the HR-MSI's bands that keeps bands of one colour apart."""


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
        """(..., H, W) to (..., h, w)."""
        return self._down[0] @ x @ self._down[1].T

    def up(self, x: Tensor) -> Tensor:
        """(..., h, w) to (..., H, W)."""
        return self._up[0] @ x @ self._up[1].T

    def back(self, x: Tensor) -> Tensor:
        """The smallest image (..., H, W) that degrades to `x` (..., h, w): the pseudo-inverse of :meth:`down`.

        Patterns that the PSF all but wipes out are amplified ten times at most; they are then not met exactly.
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
    """Singular value decomposition of the reduction of one axis of `n` pixels."""
    left, values, right = np.linalg.svd(psf.matrix(n, scale), full_matrices=False)
    return left, values, right


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


@dataclass(frozen=True, eq=False)
class PairObservation:
    """What two sensors saw of a batch of scenes, and the projection onto all cubes that would look so.

    Attributes:
        lr: LR-HSI (B, C, h, w).
        msi: HR-MSI (B, c, H, W).
        resampler: Of the LR sensor.
        response: Spectral response R of the MSI's sensor (c, C).
        gain: R's inverse for the spectra of the scene, (B, C, c), see :func:`spectral_gain`.
    """

    lr: Tensor
    msi: Tensor
    resampler: Resampler
    response: Tensor
    gain: Tensor

    def project(self, sr: Tensor) -> Tensor:
        """The cube nearest to `sr` (B, C, H, W) that both sensors would have seen as they did.

        The PSF mixes pixels and the response mixes bands, so the two corrections commute: after the second one, the
        first still holds as far as the observations agree with each other, and one pass is enough. Where they do
        not, as with noise or a response that explains the HR-MSI in part, the LR-HSI is met, which is the image
        whose spectra are wanted, and the HR-MSI as far as the gain trusts it.
        """
        seen = torch.einsum("kc,bchw->bkhw", self.response, sr)
        sr = sr + torch.einsum("bck,bkhw->bchw", self.gain, self.msi - seen)
        return sr + self.resampler.back(self.lr - self.resampler.down(sr))


def disagreement(lr: Tensor, msi: Tensor, *, resampler: Resampler, response: Tensor) -> Tensor:
    """Second moments (B, c, c) of what the response does not explain of the degraded HR-MSI: noise, offsets, units.

    Args:
        lr: (B, C, h, w).
        msi: (B, c, H, W).
        resampler: Of the LR sensor.
        response: R (c, C).
    """
    missed = (resampler.down(msi) - torch.einsum("kc,bchw->bkhw", response, lr)).flatten(2).double()
    moments = missed @ missed.transpose(1, 2) / missed.shape[2]
    return moments.to(lr)


def detail_moments(lr: Tensor) -> Tensor:
    """Second moments (B, C, C) of what the LR-HSI has beyond the mean of its 3 x 3 neighbours.

    They stand for what an estimate at high resolution still misses: detail, not the variety of the whole scene.

    Args:
        lr: (B, C, h, w).
    """
    detail = (lr - F.avg_pool2d(lr, 3, stride=1, padding=1, count_include_pad=False)).flatten(2).double()
    moments = detail @ detail.transpose(1, 2) / detail.shape[2]
    return moments.to(lr)


def spectral_gain(response: Tensor, covariance: Tensor, noise: Tensor | None = None) -> Tensor:
    """S R' (R S R' + N)^-1, by which a difference seen in broad bands is shared out among narrow ones.

    The best linear estimate of a spectrum of covariance S from its broad bands (the Wiener filter): it distributes
    what is missing as the scene's own details vary, and believes a broad band the less, the less it agrees.

    Args:
        response: R (c, C).
        covariance: S (B, C, C) of what is missing, see :func:`detail_moments`.
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
