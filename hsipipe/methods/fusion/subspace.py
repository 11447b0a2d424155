"""The spectral subspace of a scene, estimated from its LR-HSI alone, in a frame that scenes and sensors share."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_STD = 5e-3
"""Of a direction, as a share of the largest; below it lies noise, and in a small image what its few pixels happen not
to show. Divided by less, the rest of the scene would be out of all proportion."""


@dataclass(frozen=True, eq=False)
class Subspace:
    """L directions in which the spectra of a scene vary, of each image of a batch.

    Attributes:
        mean: Mean spectrum (B, C).
        basis: Orthonormal rows (B, L, C).
        std: Standard deviation of the LR-HSI along each (B, L), which whitens.
    """

    mean: Tensor
    basis: Tensor
    std: Tensor

    def whiten(self, cube: Tensor) -> Tensor:
        """Coordinates (B, L, ...) of spectra (B, C, ...), of standard deviation one in the LR-HSI."""
        return self.whiten_difference(cube - self.mean[:, :, None, None])

    def whiten_difference(self, cube: Tensor) -> Tensor:
        """Coordinates of a difference of spectra, which has no mean to be taken away."""
        return torch.einsum("blc,bchw->blhw", self.basis / self.std[..., None], cube)

    def cube(self, z: Tensor) -> Tensor:
        """The difference of spectra (B, C, H, W) that coordinates (B, L, H, W) stand for."""
        return torch.einsum("blc,blhw->bchw", self.basis * self.std[..., None], z)


def estimate_subspace(lr: Tensor, components: int) -> Subspace:
    """The first principal components of each LR-HSI, turned towards cosines over the bands.

    Principal components have neither a sign nor, among near-equal variances, a direction that two scenes would share.
    Within the space that they span, the orthonormal frame nearest to the first cosines (DCT-II; the orthogonal
    Procrustes problem, Schoenemann 1966, DOI 10.1007/BF02289451) always has: brightness first, then slope, curvature,
    whatever the number of bands. A network can so learn from one scene what is true of another.

    Args:
        lr: (B, C, h, w).
        components: L; where there are fewer bands, as many as these.
    """
    pixels = lr.flatten(2).double()
    mean = pixels.mean(dim=2)
    centred = pixels - mean[..., None]
    covariance = centred @ centred.transpose(1, 2) / pixels.shape[2]
    count = min(components, lr.shape[1])
    _, vectors = torch.linalg.eigh(covariance)
    principal = vectors.flip(2)[:, :, :count].transpose(1, 2)
    left, _, right = torch.linalg.svd(_cosines(count, principal) @ principal.transpose(1, 2))
    basis = left @ right @ principal
    variance = (basis @ covariance @ basis.transpose(1, 2)).diagonal(dim1=1, dim2=2)
    std = variance.clamp_min(0).sqrt()
    std = torch.maximum(std, (_LEAST_STD * std.amax(dim=1, keepdim=True)).clamp_min(1e-8))
    return Subspace(mean.to(lr), basis.to(lr), std.to(lr))


def _cosines(count: int, like: Tensor) -> Tensor:
    """(count, C) orthonormal cosines over the bands."""
    bands = like.shape[2]
    place = torch.arange(bands, dtype=like.dtype, device=like.device) + 0.5
    order = torch.arange(count, dtype=like.dtype, device=like.device)
    waves = torch.cos(math.pi / bands * order[:, None] * place)
    unit: Tensor = waves / waves.norm(dim=1, keepdim=True)
    return unit
