"""Estimate the spectral subspace of a scene from its LR-HSI, with axes comparable between scenes and sensors."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_STD = 5e-3
"""Smallest standard deviation of a direction as a share of the largest. Smaller values are noise or, in a small image,
variation that its few pixels happen to lack; dividing by them would inflate the other values of the scene."""


@dataclass(frozen=True, eq=False)
class Subspace:
    """L directions of spectral variation of a scene, for each image of a batch.

    Attributes:
        mean: Mean spectrum (B, C).
        basis: Orthonormal rows (B, L, C).
        std: Standard deviation of the LR-HSI along each direction (B, L); whitening divides by it.
    """

    mean: Tensor
    basis: Tensor
    std: Tensor

    def whiten(self, cube: Tensor) -> Tensor:
        """Compute coordinates (B, L, ...) of spectra (B, C, ...), with standard deviation one in the LR-HSI."""
        return self.whiten_difference(cube - self.mean[:, :, None, None])

    def whiten_difference(self, cube: Tensor) -> Tensor:
        """Compute coordinates of a difference of spectra; the mean is not subtracted."""
        return torch.einsum("blc,bchw->blhw", self.basis / self.std[..., None], cube)

    def cube(self, z: Tensor) -> Tensor:
        """Compute the difference of spectra (B, C, H, W) with the coordinates (B, L, H, W)."""
        return torch.einsum("blc,blhw->bchw", self.basis * self.std[..., None], z)


def estimate_subspace(lr: Tensor, components: int) -> Subspace:
    """Compute the first principal components of each LR-HSI, rotated towards cosines over the bands.

    The sign of a principal component is arbitrary, and so is its direction among components of similar variance; two
    scenes would not share them. Therefore use the orthonormal basis of the same subspace nearest to the first cosines
    (DCT-II; orthogonal Procrustes problem, Schoenemann 1966, DOI 10.1007/BF02289451): brightness first, then slope,
    then curvature, for any number of bands. A network can then transfer from one scene to another.

    Args:
        lr: (B, C, h, w).
        components: L; at most the number of bands.
    """
    pixels = lr.flatten(2).double()
    mean = pixels.mean(dim=2)
    centred = pixels - mean[..., None]
    return subspace_of(mean, centred @ centred.transpose(1, 2) / pixels.shape[2], components, like=lr)


def subspace_of(mean: Tensor, covariance: Tensor, components: int, *, like: Tensor) -> Subspace:
    """As :func:`estimate_subspace`, by mean (B, C) and covariance (B, C, C) of the spectra in float64.

    Args:
        mean: Mean spectra.
        covariance: Their covariances.
        components: L; at most the number of bands.
        like: Tensor with the dtype and device of the result.
    """
    count = min(components, mean.shape[1])
    _, vectors = torch.linalg.eigh(covariance)
    principal = vectors.flip(2)[:, :, :count].transpose(1, 2)
    left, _, right = torch.linalg.svd(_cosines(count, principal) @ principal.transpose(1, 2))
    basis = left @ right @ principal
    variance = (basis @ covariance @ basis.transpose(1, 2)).diagonal(dim1=1, dim2=2)
    std = variance.clamp_min(0).sqrt()
    std = torch.maximum(std, (_LEAST_STD * std.amax(dim=1, keepdim=True)).clamp_min(1e-8))
    return Subspace(mean.to(like), basis.to(like), std.to(like))


def _cosines(count: int, like: Tensor) -> Tensor:
    """Return (count, C) orthonormal cosines over the bands."""
    bands = like.shape[2]
    place = torch.arange(bands, dtype=like.dtype, device=like.device) + 0.5
    order = torch.arange(count, dtype=like.dtype, device=like.device)
    waves = torch.cos(math.pi / bands * order[:, None] * place)
    unit: Tensor = waves / waves.norm(dim=1, keepdim=True)
    return unit
