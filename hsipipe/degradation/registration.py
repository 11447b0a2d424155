"""Plausibility checks of a pair of LR-HSI and HR-MSI: registration and common spectral range."""

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

# Maximum number of Gauss-Newton steps, and the step in HR pixels that counts as converged.
_STEPS, _SETTLED = 20, 0.01
# Maximum number of alternating estimates of response and shift.
_ROUNDS = 4
# Minimum number of LR pixels along an axis for registration.
_FEWEST = 8
# Maximum standard error of a known shift, in HR pixels or in LR pixels; the larger bound applies.
_UNSURE_HR, _UNSURE_LR = 0.5, 0.1
# Maximum residual of a known shift, as a share of the residual without a shift.
_LEFT = 0.7
# Shift in HR pixels that does not affect the fusion.
_TOLERATED = 1.0
# Minimum explained share of the variance of an MSI band within the spectrum of the HSI; and the standard deviation, as
# a share of the root mean square, below which a band is mostly noise.
_EXPLAINED, _FAINT = 0.9, 0.05


def misregistration(
    lr: NDArray[Any], msi: NDArray[Any], *, scale: int, psf: Psf, response: NDArray[Any]
) -> tuple[float, float]:
    """Estimate the shift of the MSI relative to the LR-HSI in HR pixels.

    Phase correlation of the two in LR pixels (Guizar-Sicairos, Thurman and Fienup 2008, DOI 10.1364/OL.33.000156)
    gives a start. From there, and from a zero shift, Gauss-Newton steps (Lucas and Kanade, "An iterative image
    registration technique", 1981) minimise the difference of the shifted, degraded MSI and the response of the LR-HSI.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes, s.
        psf: PSF of the LR sensor.
        response: (c, C).

    Returns:
        Rows and columns, positive for an MSI that lies too far down and right. Both are NaN if the shift is unknown:
        images too small, without texture, or not explained by any shift.

    Raises:
        DataError: The sizes do not match.
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
    """Check a pair for a shift and for MSI bands outside the spectrum of the HSI.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes, s.
        psf: PSF of the LR sensor.
        response: (c, C); None: estimate it from the pair.
        wavelength_nm: Band centres of the MSI in nm (c,), for the messages.

    Returns:
        Warnings with value, expected value and advice; empty if the images are too small or too smooth for the checks.

    Raises:
        DataError: The sizes do not match.
    """
    check_sizes(lr, msi, scale=scale, response=response)
    shift, high, matrix = _register(lr, msi, scale=scale, psf=psf, response=response)
    warnings = [_shift_warning(shift, scale=scale)] if hypot(*shift) > _TOLERATED else []
    # With as many weights as pixels, the fit is always perfect.
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
    """Return the shift of the MSI, (0, 0) if unknown, the MSI corrected for it, and the response."""
    high = original = np.asarray(msi, dtype=np.float64)
    shift = (0.0, 0.0)
    # Repeated, because the response of a shifted pair is biased, and biases the shift.
    for _ in range(_ROUNDS):
        matrix = estimate_response(lr, high, scale=scale, psf=psf) if response is None else response
        more = misregistration(lr, high, scale=scale, psf=psf, response=matrix)
        if isnan(more[0]) or hypot(*more) < _TOLERATED / 10:
            return shift, high, matrix
        # Corrected, because a shift alone lowers the explained share of all bands.
        shift = (shift[0] + more[0], shift[1] + more[1])
        high = _moved(original, (-shift[0], -shift[1]))
    return shift, high, matrix if response is not None else estimate_response(lr, high, scale=scale, psf=psf)


def _shift_warning(shift: tuple[float, float], *, scale: int) -> str:
    rows, columns = shift
    return (
        f"The HR-MSI seems to be shifted against the LR-HSI by {rows:+.1f} rows and {columns:+.1f} columns of HR "
        f"pixels ({hypot(*shift) / scale:.2g} LR pixels), expected no more than {_TOLERATED:g}; shift it by "
        f"{-rows:+.1f} rows and {-columns:+.1f} columns, or crop both images to the same ground. A wrong centre of the "
        "PSF (phase) has the same effect."
    )


def _band_warning(label: str, share: float, *, given: bool) -> str:
    remedy = (
        "Probably its row of the SRF belongs to another band, or the units of the two images differ: check both, or "
        "estimate the response from the pair (hsipipe predict --estimate-sensors)"
        if given
        else "It probably lies outside the HSI's spectrum: drop the band, or provide the SRF"
    )
    return (
        f"The LR-HSI explains {max(share, 0.0):.0%} of the variance of the HR-MSI's {label}, expected {_EXPLAINED:.0%} "
        f"or more. {remedy}."
    )


class _Pair:
    """A pair on the grid of the LR sensor, standardised band by band."""

    def __init__(self, lr: NDArray[Any], msi: NDArray[Any], *, scale: int, psf: Psf, response: NDArray[Any]) -> None:
        self._scale, self._psf = scale, psf
        target = np.tensordot(np.asarray(response, dtype=np.float64), np.asarray(lr, dtype=np.float64), 1)
        high = np.asarray(msi, dtype=np.float64)
        low = psf.downsample(high, scale)
        # Units may differ, and bands outside the spectrum of the HSI have another texture.
        deviations = [_deviation(image) for image in (target, low)]
        standard = [image * inverse for image, inverse in zip((target, low), deviations, strict=True)]
        alike = np.array([_correlation(a, b) for a, b in zip(*standard, strict=True)])[:, None, None]
        self._target = alike * standard[0]
        self._low = alike * standard[1]
        self._high = alike * deviations[1] * high

    def shift(self) -> tuple[float, float]:
        """Return the shift of the MSI in rows and columns; NaN if unknown."""
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
        """Return the residual of a shift (n,) and the derivatives of the MSI by rows and columns (n, 2)."""
        moved = _moved(self._high, (-shift[0], -shift[1]))
        inside = self._inside(like or shift)
        residual = self._target - self._psf.downsample(moved, self._scale)
        slopes = [self._psf.downsample(np.gradient(moved, axis=axis), self._scale) for axis in (1, 2)]
        return _centred(residual[inside]), np.stack([_centred(slope[inside]) for slope in slopes], axis=1)

    def _unexplained(self, shift: tuple[float, float], like: tuple[float, float] | None = None) -> float:
        """Return the mean squared residual of a shift, on the pixels inside the image for the shift `like`."""
        return float(np.square(self._linearise(shift, like)[0]).mean())

    def _error(self, shift: tuple[float, float]) -> float:
        """Return the standard error of a shift in HR pixels; the bands count as one, as their residuals correlate."""
        residual, slopes = self._linearise(shift)
        smallest = float(np.linalg.eigvalsh(slopes.T @ slopes)[0])
        power = float(np.square(residual).sum()) * len(self._low) / len(residual)
        # Below, the slopes are rounding errors.
        return sqrt(power / smallest) if smallest > 1e-10 * len(residual) else inf

    def _inside(self, shift: tuple[float, float]) -> tuple[slice, ...]:
        """Return the LR pixels that do not depend on pixels beyond the edge after the shift."""
        margins = (
            min(ceil(abs(value) / self._scale) + 1, (n - 4) // 2)
            for value, n in zip(shift, self._low.shape[1:], strict=True)
        )
        return (slice(None), *(slice(margin, -margin) for margin in margins))


def _moved(image: NDArray[np.float64], shift: tuple[float, float]) -> NDArray[np.float64]:
    """Shift the content of an image (c, H, W) down and right, mirrored at the edges."""
    rows, columns = (shift_operator(n, value) for n, value in zip(image.shape[1:], shift, strict=True))
    return np.asarray(apply_both(image, rows, columns))


def _deviation(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse standard deviation of each band, (c, 1, 1); 0 for a constant band."""
    deviation = image.std(axis=(1, 2), keepdims=True)
    varies = deviation > 1e-5 * np.abs(image).max(axis=(1, 2), keepdims=True)
    return np.asarray(np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the correlation of two bands of standard deviation 1 (or 0), at least 0."""
    return max(float(np.mean((a - a.mean()) * (b - b.mean()))), 0.0)


def _centred(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract the mean of each band and flatten to (n,)."""
    return np.asarray(image - image.mean(axis=(1, 2), keepdims=True)).ravel()
