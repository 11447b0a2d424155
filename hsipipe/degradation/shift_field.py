"""A smooth field of shifts between the two images of a pair, and one resampling that removes it.

The displacement of real pairs differs over a scene, by relief and by attitude (DOI 10.1016/j.isprsjprs.2024.07.003).
It is measured in windows and fitted by a polynomial, as with tie points: docs/adr/0026-field-of-shifts.md.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.registration import phase_cross_correlation

from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.estimate import check_sizes, estimate_response
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError

# Edge of a window: HR pixels, LR pixels and share of the image at least; and the most windows along an axis.
_EDGE_HR, _EDGE_LR, _EDGE_SHARE, _MOST_WINDOWS = 48, 12, 1 / 16, 12
# Rounds of measuring and fitting; each measures what those before it leave.
_ROUNDS = 8
_UPSAMPLED = 20
# Correlation of a window after its shift, below which the shift is not used, and the longest shift of its edge.
_LEAST_CORRELATION, _LONGEST = 0.8, 0.25
# Windows per coefficient of the polynomial, and the highest degree.
_WINDOWS_EACH, _HIGHEST_DEGREE = 3, 5
# Ridge on all terms but the constant, which keeps the edges of the image from running away; it does not bias the
# result, since the rounds fit increments.
_RIDGE = 0.001
# Median of the shifts that are left in HR pixels, above which the degree rises, and below which the rounds end.
_UNEXPLAINED, _SETTLED = 0.06, 0.03
# Tukey's constant in standard deviations, and the smallest deviation in HR pixels.
_TUKEY, _LEAST_DEVIATION = 4.685, 0.05
_REWEIGHTED = 10
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ShiftField:
    """Displacement of an HR-MSI relative to its LR-HSI in HR pixels, a polynomial of the position.

    Attributes:
        shape: Rows and columns (H, W) of the HR-MSI.
        degree: Degree of the polynomial.
        coefficients: (terms, 2), of the shift along rows and columns.
        windows: Number of windows that it was fitted to.
        before: RMS shift of the windows in HR pixels.
        after: RMS of the shifts that are left after the alignment, measured again.
    """

    shape: tuple[int, int]
    degree: int
    coefficients: Floats
    windows: int
    before: float
    after: float

    def at(self, rows: NDArray[Any], columns: NDArray[Any]) -> Floats:
        """Return the shifts (2, ...) along rows and columns, positive for content too far down and right."""
        terms = _terms(np.asarray(rows, float), np.asarray(columns, float), self.shape, self.degree)
        return np.asarray(np.moveaxis(terms @ self.coefficients, -1, 0))

    def grid(self) -> Floats:
        """Return the shifts at all pixels, (2, H, W)."""
        return self.at(*np.mgrid[: self.shape[0], : self.shape[1]])

    def outside(self) -> NDArray[np.bool_]:
        """Return the pixels (H, W) whose content lies outside of the HR-MSI."""
        rows, columns = np.mgrid[: self.shape[0], : self.shape[1]] + self.grid()
        height, width = self.shape
        return np.asarray((rows < -0.5) | (rows > height - 0.5) | (columns < -0.5) | (columns > width - 0.5))

    def describe(self) -> str:
        """Describe the shifts and what is left of them in one sentence."""
        largest = float(np.linalg.norm(self.grid(), axis=0).max())
        return (
            f"the HR-MSI is shifted by up to {largest:.1f} HR pixels; the RMS of {self.windows} windows is "
            f"{self.before:.2f} before the alignment and {self.after:.2f} after it."
        )


def estimate_field(lr: NDArray[Any], msi: NDArray[Any], *, scale: int, psf: Psf) -> ShiftField:
    """Estimate the shifts of an HR-MSI relative to its LR-HSI.

    Both are compared at the resolution of the LR-HSI, in the bands of the HR-MSI; the spectral response is estimated
    again in each round. In each window phase correlation gives a shift (Guizar-Sicairos, Thurman and Fienup 2008, DOI
    10.1364/OL.33.000156), and a polynomial is fitted by iteratively reweighted least squares with Tukey's weights
    (Beaton and Tukey 1974, DOI 10.1080/00401706.1974.10489171).

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.

    Raises:
        DataError: The sizes do not match, or no window has texture that both images share.
    """
    check_sizes(lr, msi, scale=scale)
    original = np.asarray(msi, dtype=np.float64)
    field = ShiftField((msi.shape[1], msi.shape[2]), 0, np.zeros((1, 2)), 0, 0.0, 0.0)
    for turn in range(_ROUNDS + 1):
        centres, left = _measured(lr, align(original, field), scale=scale, psf=psf)
        if not len(centres):
            raise DataError(
                "The two images have no window of common texture, so their shift cannot be measured; do both show the "
                "same ground?"
            )
        rms = float(np.sqrt(np.square(left).sum(axis=1).mean()))
        field = replace(field, windows=len(centres), before=field.before if turn else rms, after=rms)
        typical = float(np.median(np.linalg.norm(left, axis=1)))
        if turn == _ROUNDS or typical < _SETTLED:
            break
        # No higher than needed: a low degree shows outliers, and is safe where windows are missing.
        degree = field.degree + (typical > _UNEXPLAINED)
        field = _improved(field, centres, left, degree=min(degree, _degree(field.shape, len(centres), scale)))
    return field


def align(image: NDArray[Any], field: ShiftField) -> NDArray[Any]:
    """Resample an image (c, H, W) once, by cubic splines, so that its shifts vanish; mirrored at the edges."""
    if not field.coefficients.any():
        return image
    places = np.mgrid[: field.shape[0], : field.shape[1]] + field.grid()
    bands = [map_coordinates(band, places, order=3, mode="mirror") for band in image]
    return np.stack(bands).astype(image.dtype, copy=False)


def align_mask(mask: NDArray[np.bool_], field: ShiftField) -> NDArray[np.bool_]:
    """Move a mask (H, W) of pixels without data with its image; a pixel next to one that has none has none."""
    places = np.mgrid[: field.shape[0], : field.shape[1]] + field.grid()
    return np.asarray(map_coordinates(mask.astype(np.float64), places, order=1, mode="nearest") > 0)


def _measured(lr: NDArray[Any], msi: Floats, *, scale: int, psf: Psf) -> tuple[Floats, Floats]:
    """Return the centres of the windows with common texture (N, 2) and their shifts (N, 2)."""
    response = estimate_response(lr, msi, scale=scale, psf=psf)
    seen = np.tensordot(response, np.asarray(lr, dtype=np.float64), 1)
    fixed, moving = (_texture(upsample(image, scale), scale) for image in (seen, psf.downsample(msi, scale)))
    # Bands outside of the spectrum of the HSI have another texture.
    alike = np.array([max(0.0, float(np.mean(a * b))) for a, b in zip(fixed, moving, strict=True)])
    one, two = (np.tensordot(alike, image, 1) for image in (fixed, moving))
    centres, shifts = [], []
    for rows, columns in _windows(one.shape, scale):
        shift = _shift(one[rows, columns], two[rows, columns])
        if shift is not None:
            centres.append(((rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2))
            shifts.append(shift)
    return np.array(centres, dtype=np.float64).reshape(-1, 2), np.array(shifts, dtype=np.float64).reshape(-1, 2)


def _texture(image: Floats, scale: int) -> Floats:
    """Remove what is smoother than some LR pixels, whose correlation has a broad peak, and standardise each band."""
    fine = np.stack([band - gaussian_filter(band, 3 * scale, mode="mirror") for band in image])
    deviation = fine.std(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(fine, deviation, out=np.zeros_like(fine), where=deviation > 0))


def _windows(shape: tuple[int, ...], scale: int) -> list[tuple[slice, slice]]:
    edge = _edge(shape, scale)

    def spans(size: int) -> list[slice]:
        length = min(edge, size)
        count = min(_MOST_WINDOWS, 1 + -(-(size - length) // (length // 4)))
        return [slice(start, start + length) for start in np.linspace(0, size - length, count).round().astype(int)]

    return [(rows, columns) for rows in spans(shape[0]) for columns in spans(shape[1])]


def _edge(shape: tuple[int, ...], scale: int) -> int:
    return max(_EDGE_HR, _EDGE_LR * scale, int(_EDGE_SHARE * min(shape)))


def _shift(fixed: Floats, moving: Floats) -> tuple[float, float] | None:
    """Return the displacement of one window relative to another; None: they have no common texture."""
    taper = np.outer(*(np.hanning(n + 2)[1:-1] for n in fixed.shape))
    one, two = (taper * (image - image.mean()) for image in (fixed, moving))
    if not (one.any() and two.any()):
        return None
    # skimage has no annotations here.
    found, error, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        one, two, upsample_factor=_UPSAMPLED, normalization=None
    )
    # The error is sqrt(1 - r^2) for the correlation r.
    correlated = np.sqrt(max(0.0, 1 - float(error) ** 2))
    if correlated < _LEAST_CORRELATION or max(map(abs, found)) > _LONGEST * min(fixed.shape):
        return None
    return -float(found[0]), -float(found[1])


def _degree(shape: tuple[int, int], windows: int, scale: int) -> int:
    """Return the highest degree that the windows determine."""
    # Windows that share more than half of their pixels tell little more than one.
    degree = min(_HIGHEST_DEGREE, max(0, round(2 * min(shape) / _edge(shape, scale)) - 2))
    while degree and windows < _WINDOWS_EACH * (degree + 1) * (degree + 2) // 2:
        degree -= 1
    return degree


def _improved(field: ShiftField, centres: Floats, left: Floats, *, degree: int) -> ShiftField:
    """Add the polynomial of the shifts that are left (N, 2) to a field, with outliers weighted down."""
    degree = max(degree, field.degree)
    terms = _terms(centres[:, 0], centres[:, 1], field.shape, degree)
    # From the median, which outliers do not move.
    fitted = np.zeros((terms.shape[1], 2))
    fitted[0] = np.median(left, axis=0)
    for _ in range(_REWEIGHTED):
        distance = np.linalg.norm(left - terms @ fitted, axis=1)
        deviation = max(_LEAST_DEVIATION, 1.4826 * float(np.median(distance)))
        weights = np.square(np.clip(1 - np.square(distance / (_TUKEY * deviation)), 0, 1))
        normal = terms.T @ (weights[:, None] * terms)
        ridge = _RIDGE * weights.sum() * (np.arange(len(normal)) > 0)
        fitted = np.linalg.solve(normal + np.diag(ridge), terms.T @ (weights[:, None] * left))
    # Terms are ordered by degree.
    fitted[: len(field.coefficients)] += field.coefficients
    return replace(field, degree=degree, coefficients=fitted)


def _terms(rows: Floats, columns: Floats, shape: tuple[int, int], degree: int) -> Floats:
    """Return the monomials of a position (..., terms), in units of half the image from its centre."""
    y, x = (2 * (place + 0.5) / size - 1 for place, size in zip((rows, columns), shape, strict=True))
    powers = [(total - k, k) for total in range(degree + 1) for k in range(total + 1)]
    return np.stack([y**a * x**b for a, b in powers], axis=-1)
