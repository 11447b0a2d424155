"""Metrics of samples: whether they are spread as the truth is, alone and together with their neighbours.

Samples are K arrays (C, H, W); a prediction without samples is one array, whose CRPS is its mean absolute error. Sums
run in float64, over windows of rows. The power spectra take a band at a time.

Sources: fair scores: Ferro 2014, https://doi.org/10.1002/qj.2270; energy score: Gneiting and Raftery 2007,
https://doi.org/10.1198/016214506000001437, eq. 22; spread and skill: Fortin et al. 2014,
https://doi.org/10.1175/JHM-D-14-0008.1; rank histogram: Hamill 2001.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hsipipe.artifacts.no_data import Mask, coarse_valid
from hsipipe.artifacts.views import Cube
from hsipipe.degradation.masked import downsampled
from hsipipe.degradation.psf import Psf
from hsipipe.evaluation.cubes import Array
from hsipipe.evaluation.metrics import psnr_db
from hsipipe.evaluation.power_spectra import log_ratio
from hsipipe.evaluation.windows import windows
from hsipipe.methods.samples import INTERVAL, fair_crps, interval_factor, moments

Samples = Sequence[Cube]
T = TypeVar("T", bound=np.generic)

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Probabilities of the intervals of the reliability curve."""
BLOCK = 8
"""Edge in pixels of the patches of the energy score, and of the blocks of the functionals."""
_WINDOW = 5
_BRIGHT = 0.9
"""Quantile of the input's brightness above which a pixel counts as bright."""


@dataclass(frozen=True)
class Ensemble:
    """The samples of a scene, clipped to the range of the protocol.

    Attributes:
        samples: K arrays (C, H, W); the prediction alone, if there is nothing to sample.
        centre: Centre of the intervals (C, H, W): the prediction of a regression, else the mean of the samples.
        std: Standard deviation of the samples (C, H, W); None: there is nothing to sample.
        interval_scale: Factor on the width of intervals.
        around_mean: The centre is the mean of the samples.
    """

    samples: list[NDArray[np.floating[Any]]]
    centre: NDArray[np.floating[Any]]
    std: NDArray[np.floating[Any]] | None = None
    interval_scale: float = 1.0
    around_mean: bool = False

    @classmethod
    def point(cls, prediction: NDArray[np.floating[Any]]) -> "Ensemble":
        """A prediction without samples."""
        return cls([prediction], prediction)

    @classmethod
    def of(
        cls,
        samples: list[NDArray[np.float32]],
        prediction: NDArray[np.floating[Any]],
        *,
        around_mean: bool,
        interval_scale: float,
        limits: tuple[float, float],
    ) -> "Ensemble":
        """Measure and clip samples."""
        mean, std = moments(samples)
        clipped = [sample.clip(*limits, out=sample) for sample in samples]
        return cls(clipped, mean if around_mean else prediction, std, interval_scale, around_mean)

    def at(self, valid: Mask | None) -> "Ensemble":
        """Return the ensemble of the valid pixels (H, W) as one row of pixels; of all pixels for None."""
        if valid is None:
            return self
        samples = [sample[:, None, valid] for sample in self.samples]
        std = None if self.std is None else self.std[:, None, valid]
        return replace(self, samples=samples, centre=self.centre[:, None, valid], std=std)

    @property
    def varies(self) -> bool:
        """True if there are samples."""
        return self.std is not None

    @property
    def deviation(self) -> NDArray[np.floating[Any]]:
        """Standard deviation (C, H, W); zero without samples."""
        return np.zeros_like(self.samples[0]) if self.std is None else self.std

    @property
    def expected_error(self) -> NDArray[np.floating[Any]]:
        """Expected error of the centre (C, H, W); the mean of K samples has a further share of 1/K."""
        share = 1 + 1 / len(self.samples) if self.around_mean else 1.0
        return self.deviation * np.float32(math.sqrt(share))

    def half_width(self, probability: float = INTERVAL) -> NDArray[np.floating[Any]]:
        """Half the width of a central interval (C, H, W); zero without samples."""
        if not self.varies:
            return self.deviation
        factor = interval_factor(len(self.samples), probability, around_mean=self.around_mean)
        return self.deviation * np.float32(self.interval_scale * factor)


def crps(samples: Samples, hr: Cube) -> float:
    """Fair continuous ranked probability score, mean over all values.

    mean_k |x_k - y| - sum_kl |x_k - x_l| / (2 K (K - 1)); the mean absolute error for one sample.

    Args:
        samples: K arrays (C, H, W).
        hr: Truth (C, H, W).
    """
    total, count = 0.0, 0
    for truth, *parts in windows(hr, *samples):
        for band, plane in enumerate(truth):
            total += float(fair_crps(np.stack([part[band] for part in parts]), plane).sum(dtype=np.float64))
        count += truth.size
    return total / count


def spread_skill(ensemble: Samples, hr: Cube) -> float:
    """sqrt((1 + 1/K) mean var_k) / RMSE of the mean; 1 is calibrated, below 1 too sure.

    Args:
        ensemble: At least two samples (C, H, W).
        hr: Truth (C, H, W).
    """
    variance, error = 0.0, 0.0
    for truth, *parts in windows(hr, *ensemble):
        for band, plane in enumerate(truth):
            stack = _stack(parts, band)
            variance += float(stack.var(axis=0, ddof=1).sum())
            error += float(np.square(stack.mean(axis=0) - plane).sum())
    return math.sqrt((1 + 1 / len(ensemble)) * variance / error) if error > 0 else math.nan


def coverage_90(centre: Cube, half_width: Cube, hr: Cube) -> float:
    """Share of the values in % inside of the central 90 % interval.

    Args:
        centre: Prediction (C, H, W).
        half_width: Half the width of the interval (C, H, W).
        hr: Truth (C, H, W).
    """
    inside, count = 0, 0
    for parts in windows(centre, half_width, hr):
        inside, count = inside + int(np.count_nonzero(_inside(*parts))), count + parts[0].size
    return 100 * inside / count


def coverage_by_texture(centre: Array, half_width: Array, hr: Array, valid: Mask | None = None) -> NDArray[np.float64]:
    """Coverage in % in each decile of local texture, (10,).

    Texture is the deviation of the truth's brightness in a window of 5 x 5 pixels.
    """
    brightness = _brightness(hr)
    mean, square = (uniform_filter(values, _WINDOW) for values in (brightness, np.square(brightness)))
    texture = np.maximum(square - np.square(mean), 0)
    inside = np.mean(_inside(centre, half_width, hr), axis=0).ravel()
    order = np.argsort(texture, axis=None, kind="stable")
    if valid is not None:
        order = order[valid.ravel()[order]]
    return np.array([100 * inside[part].mean() for part in np.array_split(order, 10)])


def coverage_by_band(centre: Array, half_width: Array, hr: Array) -> NDArray[np.float64]:
    """Coverage in % of each band, (C,)."""
    return np.asarray(100 * np.mean(_inside(centre, half_width, hr), axis=(1, 2)), np.float64)


def rank_histogram(samples: Samples, hr: Array) -> NDArray[np.float64]:
    """Shares (K + 1,) of the ranks of the truth among the samples; flat if it is one more sample. Ties share a rank."""
    count = len(samples)
    shares = np.zeros(count + 1)
    for band, truth in enumerate(hr):
        stack = _stack(samples, band)
        below, above = (stack < truth).sum(axis=0).ravel(), (stack > truth).sum(axis=0).ravel()
        ties = count - below - above
        for extra in range(int(ties.max()) + 1):
            tied = ties >= extra
            shares += np.bincount((below + extra)[tied], 1 / (1 + ties[tied]), minlength=count + 1)
    return np.asarray(shares / shares.sum(), np.float64)


@dataclass(frozen=True)
class SpectralFrame:
    """Orthonormal components of the training spectra, each with its standard deviation there.

    Attributes:
        components: Rows (k, C).
        std: Standard deviations (k,).
    """

    components: NDArray[np.float64]
    std: NDArray[np.float64]

    def patches(self, cube: Array) -> NDArray[np.float32]:
        """Cut the components of a cube (C, H, W) into patches (P, k * BLOCK * BLOCK)."""
        height, width = (size // BLOCK * BLOCK for size in cube.shape[1:])
        scaled = (self.components / self.std[:, None]).astype(np.float32)
        planes = np.tensordot(scaled, np.asarray(cube[:, :height, :width], np.float32), axes=1)
        parts = planes.reshape(len(scaled), height // BLOCK, BLOCK, width // BLOCK, BLOCK)
        cut: NDArray[np.float32] = parts.transpose(1, 3, 0, 2, 4).reshape(-1, len(scaled) * BLOCK * BLOCK)
        return cut


def energy_score(samples: Samples, hr: Cube, frame: SpectralFrame, valid: Mask | None = None) -> float:
    """Fair energy score of patches of 8 x 8 pixels in a spectral frame, mean over patches.

    mean_k |x_k - y| - sum_kl |x_k - x_l| / (2 K (K - 1)), with the Euclidean norm of a patch: it judges pixels and
    bands together. Skip patches with a pixel that `valid` (H, W) marks as no data; return NaN if no patch is left.
    """
    scores = []
    for truth, *parts in windows(hr, *samples, multiple=BLOCK):
        cut = [frame.patches(part) for part in parts]
        scores.append(_fair_score(cut, frame.patches(truth), lambda a, b: np.linalg.norm(a - b, axis=1)))
    return _mean(np.concatenate(scores)[_whole_blocks(valid)])


def psd_error(samples: Samples, hr: Cube, scale: int, valid: Mask | None = None) -> float:
    """Mean absolute log10 ratio of the power of one sample to that of the truth, over bands and frequencies.

    Frequencies from 1/(2s) to 1/2 cycles per pixel, which interpolation cannot restore; power averaged over directions.
    """
    return log_ratio(samples[0], hr, 1 / (2 * scale), 0.5, valid)


def edge_sharpness(samples: Samples, hr: Cube, valid: Mask | None = None) -> float:
    """:func:`psd_error` at the highest octave alone, 1/4 to 1/2 cycles per pixel."""
    return log_ratio(samples[0], hr, 0.25, 0.5, valid)


def sample_consistency_db(ensemble: Samples, lr: Cube, psf: Psf, scale: int, valid: Mask | None = None) -> float:
    """PSNR in dB of the degraded samples against the LR input, the lowest of the samples.

    Pixels that are not valid (H, W) are filled from those that are.
    """
    coarse = None if valid is None else coarse_valid(valid, scale)
    errors = []
    for sample in ensemble:
        total, count = 0.0, 0
        for rows, low, seen in downsampled(sample, scale, psf=psf, valid=valid):
            misses = np.square(low - lr[:, rows])
            misses = misses if coarse is None else misses[:, seen & coarse[rows]]
            total, count = total + float(misses.sum(dtype=np.float64)), count + misses.size
        errors.append(total / count if count else math.nan)
    return psnr_db(max(errors))


def block_maximum(cube: Cube) -> NDArray[np.float64]:
    """Maximum of the brightness in each block of 8 x 8 pixels, (rows, columns)."""
    return _by_blocks(cube, lambda blocks: blocks.max(axis=(1, 3)))


def bright_area(cube: Cube, level: float) -> NDArray[np.float64]:
    """Share of each block of 8 x 8 pixels that is brighter than `level`, (rows, columns)."""
    return _by_blocks(cube, lambda blocks: (blocks > level).mean(axis=(1, 3)))


def block_max_crps(samples: Samples, hr: Cube, valid: Mask | None = None) -> float:
    """CRPS of the maximum of the brightness in blocks of 8 x 8 pixels; the absolute error for one sample.

    Skip blocks with a pixel that `valid` (H, W) marks as no data; return NaN if no block is left.
    """
    kept = _whole_blocks(valid)
    return functional_crps(lambda cube: block_maximum(cube).ravel()[kept], samples, hr)


def bright_area_crps(
    samples: Samples, hr: Cube, lr: Cube, valid: Mask | None = None, lr_valid: Mask | None = None
) -> float:
    """CRPS of the share of a block of 8 x 8 pixels that is brighter than 90 % of the input's pixels.

    Pixels without data as in :func:`block_max_crps`.
    """
    brightness = np.concatenate([_brightness(part) for (part,) in windows(lr)])
    level = float(np.quantile(brightness if lr_valid is None else brightness[lr_valid], _BRIGHT))
    kept = _whole_blocks(valid)
    return functional_crps(lambda cube: bright_area(cube, level).ravel()[kept], samples, hr)


def functional_crps(function: Callable[[Cube], NDArray[np.float64]], samples: Samples, hr: Cube) -> float:
    """Fair CRPS of a function of the cube, mean over its values."""
    values = np.stack([function(sample) for sample in samples])
    return _mean(fair_crps(values, function(hr)))


def _whole_blocks(valid: Mask | None) -> Any:
    """Select the blocks of 8 x 8 pixels that are valid as a whole, in rows; all of them without a mask."""
    return np.s_[:] if valid is None else _blocks(valid).all(axis=(1, 3)).ravel()


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else math.nan


def _fair_score(samples: Sequence[Array], truth: Array, distance: Callable[[Any, Any], Any]) -> NDArray[np.float64]:
    count = len(samples)
    score = np.mean([distance(sample, truth) for sample in samples], axis=0)
    if count > 1:
        pairs = [distance(samples[i], samples[j]) for i in range(count) for j in range(i)]
        score = score - np.sum(pairs, axis=0) / (count * (count - 1))
    return np.asarray(score, np.float64)


def _inside(centre: Array, half_width: Array, hr: Array) -> NDArray[np.bool_]:
    return np.abs(np.asarray(hr, np.float64) - centre) <= half_width


def _brightness(cube: Array) -> NDArray[np.float64]:
    return np.asarray(np.mean(cube, axis=0, dtype=np.float64), np.float64)


def _by_blocks(cube: Cube, function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Apply a function to the brightness in blocks of 8 x 8 pixels (rows, 8, columns, 8)."""
    parts = [function(_blocks(_brightness(part))) for (part,) in windows(cube, multiple=BLOCK)]
    return np.concatenate(parts)


def _blocks(plane: NDArray[T]) -> NDArray[T]:
    height, width = (size // BLOCK * BLOCK for size in plane.shape)
    return plane[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)


def _stack(samples: Samples, band: int) -> NDArray[np.float64]:
    return np.stack([sample[band] for sample in samples]).astype(np.float64)
