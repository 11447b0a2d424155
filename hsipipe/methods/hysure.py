"""HySure: convex fusion in a spectral subspace with vector total variation."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import ParamsError
from hsipipe.methods.fusion.data_terms import DataTerms
from hsipipe.methods.fusion.singular_vectors import singular_vectors
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion, mix
from hsipipe.methods.super_resolver import Batch

Floats = NDArray[np.float32]

# Coefficients below this share of the largest are probably noise and are not scaled up further.
_RELATIVE_FLOOR = 1e-3
# Differences that one iteration removes, lambda_phi / mu. About the size of the edges of an image of mean square 1;
# mu is proportional to lambda_phi, so that the same number of iterations suffices for any smoothness.
_EDGE = np.float32(1)
_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class HySure(WholeSceneFusion):
    """Minimises the misfit to both images plus the total variation of the coefficients X in a spectral subspace E.

    ``min_X 1/2 |Yh - E X B M|^2 + lambda_m / 2 |Ym - R E X|^2 + lambda_phi VTV(X)``, where BM blurs and decimates, R
    is the response, and VTV sums over the pixels the norm of all differences at the pixel, which favours edges at the
    same place in all coefficients. Source: Simões et al. 2015, DOI 10.1109/TGRS.2014.2375320, section on the
    formulation. The method was designed for hyperspectral images and needs no extension.

    E are the first singular vectors of the LR-HSI. VTV weights the coefficients by the inverse root of their RMS
    values; otherwise the first coefficient alone would determine the edges.

    The solver is the ADMM (SALSA) of the paper's appendix, with two changes that do not alter the problem. The two
    data terms share one split variable, whose step has a closed form (Wei, Dobigeon and Tourneret 2015, DOI
    10.1109/TIP.2015.2458572), here in the singular vectors of the PSF's matrices. The differences are diagonal in
    the DCT basis. Boundaries are therefore symmetric, like the PSF's, instead of circular, and any PSF can be used.

    Attributes:
        components: Largest dimension L_s of the subspace.
        smoothness: lambda_phi, for an LR-HSI of mean square 1; above 0. The default is for data without noise.
        msi_weight: lambda_m.
        iterations: Number of ADMM iterations.
    """

    components: int = 20
    smoothness: float = 1e-4
    msi_weight: float = 1.0
    iterations: int = 40

    KIND: ClassVar[str] = "hysure"
    DESCRIPTION: ClassVar[str] = "A subspace of the LR-HSI with vector total variation; needs no training."

    def __post_init__(self) -> None:
        if not self.smoothness > 0:
            raise ParamsError(
                f"HySure's smoothness must be above 0, got {self.smoothness}; 1e-4 is for data without noise."
            )

    def working_bytes(self, bands: int) -> int:
        """See :meth:`WholeSceneFusion.working_bytes`: 17 images of the coefficients."""
        return max(super().working_bytes(bands), 68 * min(self.components, bands))

    def fuse(self, lr: Batch, msi: Batch) -> Floats:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        response = self.response_of(lr, msi)
        # The misfits are quadratic in the values and the total variation is linear; without normalisation, a dark scene
        # would be smoothed more than a bright one.
        unit = np.float32(np.sqrt(np.square(lr, dtype=np.float64).mean())) or np.float32(1)
        basis = singular_vectors(lr, self.components)
        low = mix(basis.T, lr / unit)
        weights = _weights(low)
        data = DataTerms(
            low,
            msi / unit,
            mixing=(response @ basis).astype(np.float32),
            psf=self.psf,
            scale=self.scale,
            weight=self.msi_weight,
            penalty=self.smoothness / _EDGE * np.square(weights.ravel(), dtype=np.float64),
        )
        return mix(basis * unit, self._admm(data, upsample(low, self.scale), weights=weights))

    def _admm(self, data: "DataTerms", start: Floats, *, weights: Floats) -> Floats:
        """Run scaled ADMM on ``data(V) + smoothness |G|_{2,1}`` for weights V = X, G = D X; all but G: (p, H, W)."""
        along_rows, along_columns = (_laplacian(n) for n in start.shape[1:])
        # Eigenvalues of I + D^T D, for the step in X.
        diagonal = 1 + along_rows[:, None] + along_columns
        # A feasible start halves the iterations and does not change the solution, since the problem is convex.
        fitted = data.step(start)
        x, x_dual = weights * fitted, np.zeros_like(start)
        edges_dual = np.zeros((2, *start.shape), dtype=np.float32)
        for _ in range(self.iterations):
            wanted = _differences(x) - edges_dual
            edges = _shrink(wanted, _EDGE)
            edges_dual = edges - wanted
            near = x - x_dual
            fitted = data.step(near / weights)
            x_dual = weights * fitted - near
            right = weights * fitted + x_dual + _adjoint(edges + edges_dual)
            x = idctn(dctn(right, axes=(1, 2), norm="ortho") / diagonal, axes=(1, 2), norm="ortho")
        # Of the two split copies, return the one fitted to both images.
        return fitted


def _weights(low: Floats) -> Floats:
    """Compute weights (p, 1, 1) of the coefficients (p, h, w): the inverse root of their RMS values."""
    deviations = np.sqrt(np.square(low, dtype=np.float64).mean(axis=(1, 2), keepdims=True))
    largest = deviations.max() or 1.0
    return np.asarray(np.sqrt(largest / np.maximum(deviations, _RELATIVE_FLOOR * largest)), dtype=np.float32)


def _differences(x: Floats) -> Floats:
    """Compute forward differences along rows and columns, (2, p, H, W); zero at the far edge (symmetric boundary)."""
    out = np.zeros((2, *x.shape), dtype=np.float32)
    np.subtract(x[:, 1:], x[:, :-1], out=out[0, :, :-1])
    np.subtract(x[:, :, 1:], x[:, :, :-1], out=out[1, :, :, :-1])
    return out


def _adjoint(edges: Floats) -> Floats:
    """Apply the adjoint of :func:`_differences`, (p, H, W)."""
    out = np.zeros(edges.shape[1:], dtype=np.float32)
    out[:, 1:] += edges[0, :, :-1]
    out[:, :-1] -= edges[0, :, :-1]
    out[:, :, 1:] += edges[1, :, :, :-1]
    out[:, :, :-1] -= edges[1, :, :, :-1]
    return out


def _laplacian(n: int) -> Floats:
    """Compute the eigenvalues of D^T D along an axis of n pixels; the eigenvectors are the cosines of the DCT-II."""
    return np.asarray(2 - 2 * np.cos(np.pi * np.arange(n) / n), dtype=np.float32)


def _shrink(edges: Floats, threshold: np.float32) -> Floats:
    """Shrink the norm of the vector of all differences (2, p) at each pixel by the threshold."""
    length = np.sqrt(np.einsum("dpyx,dpyx->yx", edges, edges))
    return np.asarray(edges * np.maximum(1 - threshold / np.maximum(length, _TINY), 0), dtype=np.float32)
