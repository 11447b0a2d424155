"""Whether an LR-HSI and an HR-MSI are a pair: of the same ground, and of the same part of the spectrum."""

from collections.abc import Sequence
from math import ceil, hypot, inf, isnan, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.registration import phase_cross_correlation

from hsipipe.bands import band_label
from hsipipe.degradation.banded import apply_both
from hsipipe.degradation.bicubic import shift_operator
from hsipipe.degradation.estimate import check_sizes, estimate_response, explained
from hsipipe.degradation.psf import Psf

# Gauss-Newton steps at most, and the HR pixels of a step below which they end.
_STEPS, _SETTLED = 20, 0.01
# Times that response and shift are estimated in turn, at most.
_ROUNDS = 4
# LR pixels along an axis without which there is no texture to register.
_FEWEST = 8
# Standard error of a shift, in HR pixels or in LR pixels, whichever is larger, beyond which it is not known.
_UNSURE_HR, _UNSURE_LR = 0.5, 0.1
# A shift that leaves more of what was unexplained than this share has not been found but guessed.
_LEFT = 0.7
# HR pixels of a shift that the fusion does not mind.
_TOLERATED = 1.0
# Share of its variance without which an MSI band is of another part of the spectrum; and the standard deviation, as a
# share of the root mean square, below which a band holds little but noise.
_EXPLAINED, _FAINT = 0.9, 0.05


def misregistration(
    lr: NDArray[Any], msi: NDArray[Any], *, scale: int, psf: Psf, response: NDArray[Any]
) -> tuple[float, float]:
    """By how many HR pixels the MSI is shifted against the LR-HSI.

    Phase correlation of the two in LR pixels (Guizar-Sicairos, Thurman and Fienup 2008, DOI 10.1364/OL.33.000156)
    gives a start; from there, and from no shift, Gauss-Newton steps (Lucas and Kanade, "An iterative image
    registration technique", 1981) bring the shifted and degraded MSI as near as can be to the response of the LR-HSI.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes, s.
        psf: Of the LR sensor.
        response: (c, C).

    Returns:
        Rows and columns, positive where the MSI lies too far down and right. Both are NaN where the images
        cannot tell: too small, without texture, or not explained by any shift.

    Raises:
        DataError: The sizes do not fit.
    """
    check_sizes(lr, msi, scale=scale, response=response)
    pair = _Pair(lr, msi, scale=scale, psf=psf, response=response)
    return pair.shift() if min(lr.shape[1:]) >= _FEWEST else (nan, nan)


def pair_warnings(
    lr: NDArray[Any],
    msi: NDArray[Any],
    *,
    scale: int,
    psf: Psf,
    response: NDArray[Any] | None = None,
    wavelength_nm: Sequence[float] | NDArray[Any] | None = None,
) -> list[str]:
    """What is suspicious about a pair, as sentences for people: what was got, what was expected, what to do.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes, s.
        psf: Of the LR sensor.
        response: (c, C); None: estimated from the pair.
        wavelength_nm: Centres of the MSI's bands (c,), to name them by.

    Returns:
        None of it certain, and nothing where the images are too small or too smooth to tell.

    Raises:
        DataError: The sizes do not fit.
    """
    check_sizes(lr, msi, scale=scale, response=response)
    shift, high, matrix = _register(lr, msi, scale=scale, psf=psf, response=response)
    warnings = [_shift_warning(shift, scale=scale)] if hypot(*shift) > _TOLERATED else []
    # As many weights as pixels explain everything.
    if lr[0].size > len(lr):
        shares = explained(lr, high, scale=scale, psf=psf, response=matrix)
        low = psf.downsample(high, scale)
        seen = low.std(axis=(1, 2)) > _FAINT * np.sqrt(np.square(low).mean(axis=(1, 2)))
        for band in np.flatnonzero(seen & (shares < _EXPLAINED)):
            label = band_label(int(band), wavelength_nm)
            warnings.append(_band_warning(label, float(shares[band]), given=response is not None))
    return warnings


def _register(
    lr: NDArray[Any], msi: NDArray[Any], *, scale: int, psf: Psf, response: NDArray[Any] | None
) -> tuple[tuple[float, float], NDArray[np.float64], NDArray[Any]]:
    """The MSI's shift, (0, 0) where it is not known; the MSI without it; and the response."""
    high = original = np.asarray(msi, dtype=np.float64)
    shift = (0.0, 0.0)
    # Again, because the response of a shifted pair is not that of the sensors, and bends the shift a little.
    for _ in range(_ROUNDS):
        matrix = estimate_response(lr, high, scale=scale, psf=psf) if response is None else response
        more = misregistration(lr, high, scale=scale, psf=psf, response=matrix)
        if isnan(more[0]) or hypot(*more) < _TOLERATED / 10:
            return shift, high, matrix
        # Bands of a shifted image would not be explained for that reason alone.
        shift = (shift[0] + more[0], shift[1] + more[1])
        high = _moved(original, (-shift[0], -shift[1]))
    return shift, high, matrix if response is not None else estimate_response(lr, high, scale=scale, psf=psf)


def _shift_warning(shift: tuple[float, float], *, scale: int) -> str:
    rows, columns = shift
    return (
        f"The HR-MSI seems to be shifted against the LR-HSI by {rows:+.1f} rows and {columns:+.1f} columns of HR "
        f"pixels ({hypot(*shift) / scale:.2g} LR pixels), expected no more than {_TOLERATED:g}; shift it by "
        f"{-rows:+.1f} rows and {-columns:+.1f} columns, or crop both images anew to the same ground. A PSF whose "
        "centre is set wrongly (phase) looks the same."
    )


def _band_warning(label: str, share: float, *, given: bool) -> str:
    remedy = (
        "Its row of the SRF is probably of another band, or the two images are in different units: check both, or let "
        "the response be estimated from the pair (hsipipe predict --estimate-sensors)"
        if given
        else "It probably lies outside the HSI's spectrum: drop it, or give the SRF"
    )
    return (
        f"The LR-HSI explains {max(share, 0.0):.0%} of the variance of the HR-MSI's {label}, expected {_EXPLAINED:.0%} "
        f"or more. {remedy}."
    )


class _Pair:
    """The two images as the LR sensor would have seen them, standardised band by band."""

    def __init__(self, lr: NDArray[Any], msi: NDArray[Any], *, scale: int, psf: Psf, response: NDArray[Any]) -> None:
        self._scale, self._psf = scale, psf
        target = np.tensordot(np.asarray(response, dtype=np.float64), np.asarray(lr, dtype=np.float64), 1)
        high = np.asarray(msi, dtype=np.float64)
        low = psf.downsample(high, scale)
        # Units may differ, and a band that the spectrum does not explain has a texture of its own.
        deviations = [_deviation(image) for image in (target, low)]
        standard = [image * inverse for image, inverse in zip((target, low), deviations, strict=True)]
        alike = np.array([_correlation(a, b) for a, b in zip(*standard, strict=True)])[:, None, None]
        self._target = alike * standard[0]
        self._low = alike * standard[1]
        self._high = alike * deviations[1] * high

    def shift(self) -> tuple[float, float]:
        """Rows and columns by which the MSI is shifted; NaN where it is not known."""
        if not (self._low.any() and self._target.any()):
            return nan, nan
        found = min((self._settle(start) for start in self._starts()), key=self._unexplained)
        if hypot(*found) > _TOLERATED and self._unexplained(found) > _LEFT * self._unexplained((0.0, 0.0), like=found):
            return nan, nan
        return found if self._error(found) <= max(_UNSURE_HR, _UNSURE_LR * self._scale) else (nan, nan)

    def _starts(self) -> list[tuple[float, float]]:
        planes = [image.sum(axis=0) for image in (self._low, self._target)]
        # skimage has no annotations here.
        offset, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
            *(plane - plane.mean() for plane in planes), upsample_factor=10, normalization=None
        )
        return [(0.0, 0.0), (float(self._scale * offset[0]), float(self._scale * offset[1]))]

    def _settle(self, start: tuple[float, float]) -> tuple[float, float]:
        limits = [self._scale * n / 4 for n in self._low.shape[1:]]
        shift = np.array(start)
        for _ in range(_STEPS):
            residual, slopes = self._linearise((float(shift[0]), float(shift[1])))
            step = np.linalg.lstsq(slopes, residual, rcond=None)[0]
            # The linear model holds within an LR pixel.
            step *= min(1.0, self._scale / max(float(np.abs(step).max()), 1e-12))
            shift = np.clip(shift + step, np.negative(limits), limits)
            if np.abs(step).max() < _SETTLED:
                break
        return float(shift[0]), float(shift[1])

    def _linearise(
        self, shift: tuple[float, float], like: tuple[float, float] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What a shift leaves unexplained (n,), and how the explanation changes with rows and columns (n, 2)."""
        moved = _moved(self._high, (-shift[0], -shift[1]))
        inside = self._inside(like or shift)
        residual = self._target - self._psf.downsample(moved, self._scale)
        slopes = [self._psf.downsample(np.gradient(moved, axis=axis), self._scale) for axis in (1, 2)]
        return _centred(residual[inside]), np.stack([_centred(slope[inside]) for slope in slopes], axis=1)

    def _unexplained(self, shift: tuple[float, float], like: tuple[float, float] | None = None) -> float:
        """Mean square that a shift leaves, on the pixels that `like` leaves inside."""
        return float(np.square(self._linearise(shift, like)[0]).mean())

    def _error(self, shift: tuple[float, float]) -> float:
        """Standard error of a shift in HR pixels; the bands count as one, because their residuals are alike."""
        residual, slopes = self._linearise(shift)
        smallest = float(np.linalg.eigvalsh(slopes.T @ slopes)[0])
        power = float(np.square(residual).sum()) * len(self._low) / len(residual)
        # Slopes of rounding alone are none.
        return sqrt(power / smallest) if smallest > 1e-10 * len(residual) else inf

    def _inside(self, shift: tuple[float, float]) -> tuple[slice, ...]:
        """LR pixels that the shift has not brought in from beyond the edge."""
        margins = (
            min(ceil(abs(value) / self._scale) + 1, (n - 4) // 2)
            for value, n in zip(shift, self._low.shape[1:], strict=True)
        )
        return (slice(None), *(slice(margin, -margin) for margin in margins))


def _moved(image: NDArray[np.float64], shift: tuple[float, float]) -> NDArray[np.float64]:
    """An image (c, H, W) whose content moves down and right, mirrored at the edges."""
    rows, columns = (shift_operator(n, value) for n, value in zip(image.shape[1:], shift, strict=True))
    return np.asarray(apply_both(image, rows, columns))


def _deviation(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse standard deviation of each band, (c, 1, 1); 0 of a band that does not vary."""
    deviation = image.std(axis=(1, 2), keepdims=True)
    varies = deviation > 1e-5 * np.abs(image).max(axis=(1, 2), keepdims=True)
    return np.asarray(np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Of two bands of standard deviation 1 (or 0), at least 0."""
    return max(float(np.mean((a - a.mean()) * (b - b.mean()))), 0.0)


def _centred(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """All values (n,), less the mean of their band."""
    return np.asarray(image - image.mean(axis=(1, 2), keepdims=True)).ravel()
