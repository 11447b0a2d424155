"""DMI: refine an estimate by both images, with the gradients of the estimate as prior (arXiv 2201.09851)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from hsipipe.degradation.psf import Psf
from hsipipe.methods.fusion.data_terms import DataTerms, Floats
from hsipipe.methods.super_resolver import Batch


@dataclass(frozen=True)
class GradientPrior:
    """Weights of the refinement; the defaults are those of the paper.

    Attributes:
        rounds: Rounds of the two steps.
        coupling: rho, the weight of the difference of the two copies X and W in the fit to the images.
        spatial: mu', the weight of the Laplacian of the difference W - X_h.
        spectral: nu', the weight of the differences between bands of W - X_h.
    """

    rounds: int = 20
    coupling: float = 1e-3
    spatial: float = 50.0
    spectral: float = 5.0

    def refine(
        self, estimate: Batch, lr: Batch, msi: Batch, *, psf: Psf, response: NDArray[np.floating], scale: int
    ) -> Floats:
        """Refine an estimate X_h of the HR cube.

        In each round, ``X = argmin |Y - X D|^2 + |M - R X|^2 + rho |X - W|^2``, then ``W = argmin |W - X|^2 +
        mu' |Lap(W - X_h)|^2 + nu' |d_band(W - X_h)|^2``; it begins at W = X_h. Both steps have a closed form. Against
        the published code, boundaries are symmetric instead of circular, and D is any PSF.

        Args:
            estimate: X_h (C, H, W).
            lr: Y (C, h, w).
            msi: M (c, H, W).
            psf: PSF of the LR-HSI.
            response: R (c, C).
            scale: s.

        Returns:
            X (C, H, W) float32.
        """
        penalty = np.full(len(lr), self.coupling)
        mixing = np.asarray(response, dtype=np.float32)
        data = DataTerms(lr, msi, mixing=mixing, psf=psf, scale=scale, weight=1.0, penalty=penalty)
        bands, rows, columns = (_laplacian(size) for size in estimate.shape)
        flat = rows[:, None] + columns
        damping = 1 + self.spatial * np.square(flat) + self.spectral * bands[:, None, None]
        refined = data.step(estimate)
        for _ in range(self.rounds - 1):
            change = idctn(dctn(refined - estimate, norm="ortho") / damping, norm="ortho")
            refined = data.step(estimate + change)
        return np.asarray(refined, dtype=np.float32)


def _laplacian(n: int) -> Floats:
    """Compute the eigenvalues of D^T D along an axis of n entries; the eigenvectors are the cosines of the DCT-II."""
    return np.asarray(2 - 2 * np.cos(np.pi * np.arange(n) / n), dtype=np.float32)
