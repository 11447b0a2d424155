"""The PCA ceiling: the accuracy of a linear representation of a spectrum by k numbers per pixel.

It projects the *truth* of a test scene. It is thus never a result, but a bound to judge an autoencoder by, which
should not be worse than a linear projection of the same size. Its components are fitted on the training scenes only.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs
from hsipipe.artifacts.views import Cube
from hsipipe.errors import DataError

_ROWS = 64


@dataclass(frozen=True, eq=False)
class PcaCeiling:
    """Projection on the first k principal components of the training spectra.

    Attributes:
        mean: Mean spectrum (C,).
        components: Orthonormal rows (k, C), largest variance first.
        std: Standard deviation along each component (k,).
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    std: NDArray[np.float64]

    @classmethod
    def fit(cls, cubes: Iterable[Cube], k: int) -> Self:
        """Fit on all pixels of the cubes; the covariance is summed exactly, without random sampling.

        Args:
            cubes: HR training cubes (C, H, W), each read by rows.
            k: Number of components; limited by C.

        Raises:
            DataError: No cube, k below 1, or cubes of different band counts.
        """
        if k < 1:
            raise DataError(f"PCA got k = {k}, expected at least one component.")
        moments = None
        for cube in cubes:
            if moments is None:
                moments = _Moments(len(cube))
            moments.add(cube)
        if moments is None:
            raise DataError("PCA got no training scene, expected at least one; check split in params.yaml.")
        mean, covariance = moments.finish()
        # eigh sorts ascending.
        variances, vectors = np.linalg.eigh(covariance)
        std = np.sqrt(np.maximum(variances[::-1][:k], 0))
        return cls(mean, np.ascontiguousarray(vectors[:, ::-1][:, :k].T), std)

    @classmethod
    def fit_training(cls, pairs: DegradedPairs, k: int) -> Self:
        """Fit on the HR cubes of the training split only, on their pixels with data."""
        read = (pairs.look("train", name) for name in pairs.names("train"))
        return cls.fit((pair.scored(pair.hr) for pair in read), k)

    @property
    def k(self) -> int:
        """Numbers kept per pixel."""
        return len(self.components)

    def reconstruct(self, hr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project the truth (C, H, W) onto the components and back.

        Raises:
            DataError: Another band count than in training.
        """
        if len(hr) != len(self.mean):
            raise DataError(f"PCA got {len(hr)} bands, was fitted on {len(self.mean)}; use scenes of one sensor.")
        flat = hr.reshape(len(hr), -1) - self.mean[:, None]
        back = self.components.T @ (self.components @ flat) + self.mean[:, None]
        return np.asarray(back.reshape(hr.shape), dtype=np.float32)


class _Moments:
    """Sums for mean and covariance, in blocks of rows so that no scene is copied as a whole in float64."""

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.total = np.zeros(bands)
        self.products = np.zeros((bands, bands))

    def add(self, cube: Cube) -> None:
        if len(cube) != len(self.total):
            raise DataError(f"PCA got scenes of {len(self.total)} and {len(cube)} bands, expected one sensor.")
        for row in range(0, cube.shape[1], _ROWS):
            block = cube[:, row : row + _ROWS].reshape(len(cube), -1).astype(np.float64)
            self.count += block.shape[1]
            self.total += block.sum(axis=1)
            self.products += block @ block.T

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean = self.total / self.count
        return mean, self.products / self.count - np.outer(mean, mean)
