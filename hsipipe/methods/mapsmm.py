"""MAPSMM: maximum a posteriori fusion under a stochastic mixing model of the spectra."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import ParamsError
from hsipipe.methods.fusion.singular_vectors import singular_vectors
from hsipipe.methods.fusion.vertices import vertices
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion, mix, pixels
from hsipipe.methods.super_resolver import Batch

Floats = NDArray[np.float64]

# Weight of the covariance of the whole scene in that of an endmember, in pixels.
_PRIOR_PIXELS = 10.0
# Variance that is added to every covariance, as a share of the largest; more than rounding errors.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Mapsmm(WholeSceneFusion):
    """The most likely cube given both images, under classes of mixed spectra.

    A class is a mixture of endmembers in fixed fractions, a_k = 0, 1/M, ..., 1; its spectra are Gaussian with the mean
    sum a_k m_k and the covariance sum a_k^2 C_k. The classes are fitted to the LR-HSI by expectation and maximisation.
    Each HR pixel takes the class that is most likely given its MSI spectrum. With the mean mu and the covariance C of
    the spectra of that class given the MSI spectrum, the result is ``mu + C H' (H C H' + s^2 I)^-1 (y - H mu)`` for the
    LR-HSI y and the PSF H. Source: Eismann and Hardie 2004, DOI 10.1109/TGRS.2004.830644, and 2005, DOI
    10.1109/TGRS.2004.837324, for any spectral response. The method was designed for hyperspectral images.

    Reconstructed or different, since no code is published: the subspace is that of the singular vectors, not of the
    principal components; endmembers start at the pixels that a vertex component analysis chooses; the covariance of an
    endmember is drawn towards that of the scene by ten pixels; conjugate gradients solve the system for all pixels
    together and any PSF, where the papers treat each LR pixel by itself.

    Attributes:
        components: Largest dimension of the subspace.
        endmembers: Number of endmembers K.
        levels: M, the number of steps of a fraction.
        turns: Number of turns of expectation and maximisation.
        steps: Largest number of conjugate gradient steps.
        snr_db: Signal-to-noise ratio of both images in dB. The default is for data with little noise.
        seed: Seed of the vertex component analysis.
    """

    components: int = 10
    endmembers: int = 5
    levels: int = 2
    turns: int = 20
    steps: int = 30
    snr_db: float = 50.0
    seed: int = 0

    KIND: ClassVar[str] = "mapsmm"
    DESCRIPTION: ClassVar[str] = "Maximum a posteriori fusion with mixed classes (MAPSMM); needs no training."

    def __post_init__(self) -> None:
        if not 0 < self.snr_db < 120:
            raise ParamsError(f"MAPSMM's snr_db must be between 0 and 120, got {self.snr_db}; 50 is for little noise.")

    def working_bytes(self, bands: int) -> int:
        """See :meth:`WholeSceneFusion.working_bytes`: the coefficients are in float64."""
        return 12 * bands + 9 * self.components

    def fuse(self, lr: Batch, msi: Batch) -> Floats:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        response = self.response_of(lr, msi)
        # The noise is relative to the signal.
        unit = float(np.sqrt(np.square(lr, dtype=np.float64).mean())) or 1.0
        basis = singular_vectors(lr, self.components).astype(np.float64)
        low, high = mix(basis.T, lr / unit), msi.astype(np.float64) / unit
        noise = 10 ** (-self.snr_db / 10)
        means, covariances, shares = self._classes(pixels(low))
        mixing = response @ basis
        mean, index, conditional = _given_msi(high, mixing, means, covariances, shares, noise)
        fused = mean + self._correction(low - self._down(mean), index, conditional, noise)
        return mix(basis * unit, fused)

    def _classes(self, spectra: Floats) -> tuple[Floats, Floats, Floats]:
        """Fit the classes to spectra (p, n): means (Q, p), covariances (Q, p, p) and shares (Q,)."""
        count = max(1, min(self.endmembers, spectra.shape[1]))
        fractions = _fractions(count, self.levels)
        start = vertices(spectra.astype(np.float32), count, np.random.default_rng(self.seed))
        ends = start.T.astype(np.float64)
        scene = np.cov(spectra, bias=True).reshape(len(spectra), len(spectra))
        scene = scene / count + _least(spectra) * np.eye(len(spectra))
        spread = np.broadcast_to(scene, (count, *scene.shape)).copy()
        shares = np.full(len(fractions), 1 / len(fractions))
        pure = [int(np.flatnonzero(fractions[:, k] == 1)[0]) for k in range(count)]
        for _ in range(self.turns):
            means, covariances = _mixed(fractions, ends, spread)
            weights = _posterior(spectra, means, covariances, shares)
            shares = np.maximum(weights.mean(axis=1), 1e-12)
            shares /= shares.sum()
            for k, q in enumerate(pure):
                total = weights[q].sum()
                # As if one pixel more lay at the endmember, so that one without pixels stays where it is.
                ends[k] = (spectra @ weights[q] + ends[k]) / (total + 1)
                apart = spectra - ends[k][:, None]
                spread[k] = ((apart * weights[q]) @ apart.T + _PRIOR_PIXELS * scene) / (total + _PRIOR_PIXELS)
        return (*_mixed(fractions, ends, spread), shares)

    def _correction(self, missing: Floats, index: NDArray[np.intp], covariances: Floats, noise: float) -> Floats:
        """Compute ``C H' (H C H' + s^2 I)^-1`` of what the LR-HSI adds to the mean, (p, h, w) to (p, H, W)."""

        def spread(image: Floats) -> Floats:
            raised = self._up(image)
            out = np.empty_like(raised)
            for q in np.unique(index):
                where = index == q
                out[:, where] = covariances[q] @ raised[:, where]
            return out

        solution, residual = np.zeros_like(missing), missing.copy()
        direction, power = residual.copy(), float(np.vdot(residual, residual))
        goal = 1e-8 * power
        for _ in range(self.steps):
            if power <= goal or power == 0:
                break
            applied = self._down(spread(direction)) + noise * direction
            step = power / float(np.vdot(direction, applied))
            solution += step * direction
            residual -= step * applied
            previous, power = power, float(np.vdot(residual, residual))
            direction = residual + power / previous * direction
        return spread(solution)

    def _down(self, image: Floats) -> Floats:
        return np.asarray(self.psf.downsample(image, self.scale))

    def _up(self, image: Floats) -> Floats:
        """Apply the adjoint of the PSF, (p, h, w) to (p, H, W)."""
        rows, columns = (self.psf.matrix(n * self.scale, self.scale) for n in image.shape[1:])
        return np.asarray(rows.T @ image @ columns)


def _fractions(count: int, levels: int) -> Floats:
    """List all mixtures of `count` endmembers in fractions of 1 / `levels`, (Q, count)."""
    chosen = [np.bincount(places, minlength=count) for places in combinations_with_replacement(range(count), levels)]
    return np.array(chosen, dtype=np.float64) / levels


def _mixed(fractions: Floats, ends: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """Return means (Q, p) and covariances (Q, p, p) of mixtures of endmembers (K, p) with covariances (K, p, p)."""
    return fractions @ ends, np.einsum("qk,kij->qij", np.square(fractions), spread)


def _log_density(spectra: Floats, means: Floats, covariances: Floats) -> Floats:
    """Compute the logarithm of the Gaussian density of spectra (p, n) in each class, up to a constant, (Q, n)."""
    found = np.empty((len(means), spectra.shape[1]))
    for place, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        factor = np.linalg.cholesky(covariance)
        white = np.linalg.solve(factor, spectra - mean[:, None])
        found[place] = -0.5 * np.square(white).sum(axis=0) - np.log(np.diag(factor)).sum()
    return found


def _posterior(spectra: Floats, means: Floats, covariances: Floats, shares: Floats) -> Floats:
    """Compute the probability of each class for each spectrum, (Q, n)."""
    logs = _log_density(spectra, means, covariances) + np.log(shares)[:, None]
    weights = np.exp(logs - logs.max(axis=0))
    result: Floats = weights / weights.sum(axis=0)
    return result


def _given_msi(
    high: Floats, mixing: Floats, means: Floats, covariances: Floats, shares: Floats, noise: float
) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Condition the classes on the MSI (c, H, W).

    Returns:
        Mean of the coefficients (p, H, W), class (H, W), and covariance of the coefficients by class (Q, p, p).
    """
    seen = np.einsum("cp,qpr,dr->qcd", mixing, covariances, mixing) + noise * np.eye(len(mixing))
    spectra = pixels(high)
    logs = _log_density(spectra, means @ mixing.T, seen) + np.log(shares)[:, None]
    index = logs.argmax(axis=0)
    gains = np.einsum("qpr,cr->qpc", covariances, mixing) @ np.linalg.inv(seen)
    conditional = covariances - gains @ mixing @ covariances
    mean = np.empty((means.shape[1], spectra.shape[1]))
    for q in np.unique(index):
        where = index == q
        mean[:, where] = means[q][:, None] + gains[q] @ (spectra[:, where] - (mixing @ means[q])[:, None])
    shape = high.shape[1:]
    return mean.reshape(-1, *shape), index.reshape(shape), (conditional + conditional.transpose(0, 2, 1)) / 2


def _least(spectra: Floats) -> float:
    return _LEAST_VARIANCE * max(float(np.square(spectra).mean()), 1e-12)
