"""The misfit to both images in closed form, for any separable PSF.

Wei, Dobigeon and Tourneret 2015, DOI 10.1109/TIP.2015.2458572, solve it for a circular blur by the FFT. Here the
singular vectors of the PSF's matrices take its place.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.psf import Psf
from hsipipe.methods.fusion.whole_scene import mix

Floats = NDArray[np.float32]


class DataTerms:
    """``1/2 |low - V BM|^2 + weight / 2 |msi - mixing V|^2``, and its proximal step.

    Args:
        low: Coefficients of the LR-HSI (p, h, w).
        msi: (c, H, W).
        mixing: The response in the subspace, (c, p).
        psf: PSF of the LR sensor.
        scale: Ratio s of the pixel sizes.
        weight: lambda_m.
        penalty: mu of each coefficient, (p,).
    """

    def __init__(
        self,
        low: Floats,
        msi: Floats,
        *,
        mixing: Floats,
        psf: Psf,
        scale: int,
        weight: float,
        penalty: NDArray[np.float64],
    ) -> None:
        self._rows, self._columns = (_Axis.of(psf.matrix(n, scale)) for n in msi.shape[1:])
        self._gain = self._rows.values[:, None] * self._columns.values
        self._low = self._rows.left.T @ low @ self._columns.left
        self._msi, self._mixing, self._seen = msi, mixing, self._inside(msi)
        wide = mixing.astype(np.float64)
        gram = weight * wide.T @ wide + np.diag(penalty)
        values, vectors = np.linalg.eigh(gram)
        self._values = values.astype(np.float32)[:, None, None]
        self._turn = vectors.astype(np.float32)
        self._pull = weight * mixing.T
        self._spectral = np.linalg.solve(gram, weight * wide.T).astype(np.float32)

    def step(self, near: Floats) -> Floats:
        """Compute the V (p, H, W) that minimises the terms plus ``1/2 penalty |V - near|^2``.

        In the null space of the PSF the solution depends on the spectrum only. In its row space the problem is
        diagonal: spatially in the singular vectors of the PSF, spectrally in the eigenvectors of the Gram matrix of the
        response.
        """
        inside = self._inside(near)
        from_msi = mix(self._turn.T, mix(self._pull, self._seen - mix(self._mixing, inside)))
        from_low = mix(self._turn.T, self._gain * (self._low - self._gain * inside))
        correction = (from_msi + from_low) / (self._values + np.square(self._gain)) - from_msi / self._values
        out = near + mix(self._spectral, self._msi - mix(self._mixing, near))
        return np.asarray(out + self._rows.right.T @ mix(self._turn, correction) @ self._columns.right)

    def _inside(self, image: Floats) -> Floats:
        """Compute the coefficients (p, h, w) of (p, H, W) in the right singular vectors of the PSF."""
        return np.asarray(self._rows.right @ image @ self._columns.right.T)


@dataclass(frozen=True)
class _Axis:
    """Singular vectors and values of the PSF along one axis: (h, h), (h,) and (h, H)."""

    left: Floats
    values: Floats
    right: Floats

    @classmethod
    def of(cls, matrix: NDArray[np.float64]) -> Self:
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        return cls(left.astype(np.float32), values.astype(np.float32), right.astype(np.float32))
