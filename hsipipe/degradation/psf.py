"""Point spread functions (PSF) of the LR sensor: the weights of the HR pixels in one LR pixel.

All PSFs are separable, sum to one, and mirror the scene at its edges (the edge pixel is repeated).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, floor, inf, log, pi, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.banded import Banded, apply_both, apply_columns, coarser_shape
from hsipipe.degradation.bicubic import bicubic_operator
from hsipipe.errors import ParamsError
from hsipipe.params import PsfParams

# Standard deviations at which a Gaussian without a size is truncated; the discarded share is 6e-5.
_REACH = 4.0
# Wider Gaussians reduce a scene to its mean, and their kernels exhaust the memory.
_WIDEST = 1000
# Exclusive bounds, True for whole numbers, and the description for messages.
_RANGES = {
    "sigma": (0.0, _WIDEST, False, f"a positive number of HR pixels below {_WIDEST}"),
    "mtf": (0.0, 1.0, False, "between 0 and 1"),
    "size": (0.0, 10 * _WIDEST, True, f"a positive whole number below {10 * _WIDEST}"),
    "phase": (-1.0, inf, True, "a whole number of 0 or more"),
}


@dataclass(frozen=True)
class Psf:
    """A point spread function on the grid of the HR pixels.

    Attributes:
        kind: "bicubic": MATLAB's imresize. "gaussian": a Gaussian, then decimation. "average": mean of the HR pixels of
            an LR pixel. "none": identity, at scale 1.
        sigma: Standard deviation of the Gaussian in HR pixels.
        mtf: Alternative to `sigma`: modulation transfer of the Gaussian at the Nyquist frequency of the LR grid.
        size: Taps of the Gaussian along one axis; None: up to four standard deviations.
        phase: HR pixel inside an LR pixel (0 to s - 1) at the centre of the Gaussian; None: the centre of the LR pixel,
            which lies between two HR pixels for an even scale.

    Raises:
        ParamsError: The fields contradict each other, or a value is out of range.
    """

    kind: Literal["bicubic", "gaussian", "average", "none"] = "bicubic"
    sigma: float | None = None
    mtf: float | None = None
    size: int | None = None
    phase: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("bicubic", "gaussian", "average", "none"):
            raise ParamsError(f"degradation.psf.kind must be bicubic, gaussian, average or none, got {self.kind!r}.")
        fields = {"sigma": self.sigma, "mtf": self.mtf, "size": self.size, "phase": self.phase}
        given = {name: value for name, value in fields.items() if value is not None}
        if self.kind != "gaussian":
            if given:
                raise ParamsError(
                    f"degradation.psf.{'/'.join(given)} requires kind gaussian, got kind {self.kind}; set it to null."
                )
            return
        if (self.sigma is None) == (self.mtf is None):
            raise ParamsError(
                "degradation.psf of kind gaussian requires either sigma or mtf, "
                f"got sigma {self.sigma} and mtf {self.mtf}; set one of them, and the other to null."
            )
        for name, value in given.items():
            low, high, whole, wanted = _RANGES[name]
            if not low < value < high or (whole and value % 1):
                raise ParamsError(f"degradation.psf.{name} must be {wanted}, got {value}.")

    def check(self, scale: int) -> None:
        """Check that the PSF fits the scale.

        Raises:
            ParamsError: `phase` lies outside of an LR pixel, a kernel of `size` taps cannot be symmetric, or the kind
                is "none" at a scale above 1.
        """
        if self.kind == "none" and scale > 1:
            raise ParamsError(
                f"degradation.psf.kind none is for scale 1, got scale {scale}; set bicubic, gaussian or average."
            )
        if self.phase is not None and self.phase >= scale:
            raise ParamsError(
                f"degradation.psf.phase must lie within an LR pixel, 0 to {scale - 1} at scale {scale}, "
                f"got {self.phase}."
            )
        if self.size is None:
            return
        on_pixel = self.phase is not None or scale % 2 == 1
        if self.size % 2 != on_pixel:
            middle = (scale - 1) // 2
            wanted, place, also = (
                ("an odd", "on a pixel", "")
                if on_pixel
                else ("an even", "between two pixels", f", or set phase, for example to {middle}")
            )
            raise ParamsError(
                f"degradation.psf.size must be {wanted} number at scale {scale}, because the kernel is centred {place} "
                f"and must be symmetric, got {self.size}; set {self.size + 1}{also}."
            )

    def changes(self, scale: int) -> bool:
        """Return True if the PSF changes the scene."""
        return scale > 1 or self.kind == "gaussian"

    def is_centred(self, scale: int) -> bool:
        """Return True if the PSF is centred on the LR pixel, so that pairs may be rotated and flipped."""
        return self.phase is None or 2 * self.phase == scale - 1

    def width(self, scale: int) -> float | None:
        """Return the standard deviation of the Gaussian in HR pixels; None for the other kinds.

        The modulation transfer of a Gaussian is exp(-2 pi^2 sigma^2 f^2) at f cycles per HR pixel; the Nyquist
        frequency of the LR grid is f = 1 / (2 s).
        """
        if self.mtf is not None:
            return scale / pi * sqrt(-2.0 * log(self.mtf))
        return self.sigma

    def reach(self, scale: int) -> int:
        """Return how many HR pixels beyond an LR pixel its value depends on, at most."""
        if self.kind == "bicubic":
            return 2 * scale
        offsets, _ = _kernel(self, scale)
        return max(0, -int(offsets[0]), int(offsets[-1]) - scale + 1)

    def matrix(self, n_in: int, scale: int) -> NDArray[np.float64]:
        """Return the weights of one axis, (n_in / s, n_in); each row sums to one."""
        return self.operator(n_in, scale).matrix()

    def operator(self, n_in: int, scale: int) -> Banded:
        """Return the downsampling operator of one axis.

        Raises:
            ParamsError: See :meth:`check`.
        """
        return _operator(self, n_in, scale)

    def downsample(self, x: NDArray[Any], scale: int, *, threads: int = 1) -> NDArray[Any]:
        """Downsample (..., H, W) to (..., H/s, W/s); a float dtype is kept, others become float32.

        Raises:
            DataError: The scale does not divide height or width.
        """
        coarser_shape(x.shape, scale)
        height, width = x.shape[-2:]
        return apply_both(x, self.operator(height, scale), self.operator(width, scale), threads=threads)

    def downsample_rows(self, x: NDArray[Any], scale: int, *, height: int, outputs: slice) -> NDArray[Any]:
        """Downsample some rows of a scene.

        Args:
            x: The rows (..., rows, W) that the outputs depend on, ``operator(height, scale).window(outputs)``.
            scale: Ratio of the pixel sizes s.
            height: Rows of the scene.
            outputs: LR rows; they begin at a multiple of :data:`hsipipe.degradation.banded.BLOCK_ROWS`.
        """
        rows, columns = self.operator(height, scale), self.operator(x.shape[-1], scale)
        return apply_both(x, rows, columns, outputs=outputs)

    def strips(self, height: int, scale: int, *, rows: int) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
        """Split the downsampling of the rows into strips, for scenes that do not fit in memory.

        Args:
            height: Rows of the scene.
            scale: Ratio of the pixel sizes s.
            rows: LR rows per strip.

        Yields:
            LR rows of a strip, the HR rows they depend on, and the matrix between the two.
        """
        return self.operator(height, scale).strips(rows)

    def columns(self, x: NDArray[Any], out: NDArray[Any], scale: int) -> None:
        """Downsample the last axis of a contiguous (N, H, W) into a contiguous `out` (N, H, W/s) of the same dtype."""
        apply_columns(x, out, self.operator(x.shape[-1], scale))

    def describe(self, scale: int) -> str:
        """Describe the PSF in one line."""
        if not self.changes(scale):
            return "none"
        sigma = self.width(scale)
        if sigma is None:
            kernel = "bicubic, antialiased" if self.kind == "bicubic" else f"mean of {scale} x {scale} pixels"
            return f"{kernel}, symmetric boundary"
        mtf = exp(-0.5 * (pi * sigma / scale) ** 2)
        size = "" if self.size is None else f", {self.size} x {self.size} taps"
        place = "centred" if self.phase is None else f"on pixel {self.phase} of 0 to {scale - 1}"
        return f"gaussian, sigma {sigma:.4g} px (MTF {mtf:.2g}){size}, {place}, symmetric boundary"


BICUBIC = Psf()


def make_psf(params: PsfParams) -> Psf:
    """Make the PSF of params.yaml.

    Raises:
        ParamsError: The parameters contradict each other, or a value is out of range.
    """
    return Psf(kind=params.kind, sigma=params.sigma, mtf=params.mtf, size=params.size, phase=params.phase)


@lru_cache(maxsize=64)
def _operator(psf: Psf, n_in: int, scale: int) -> Banded:
    psf.check(scale)
    n_out = n_in // scale
    if psf.kind == "bicubic":
        return bicubic_operator(n_in, n_out)
    firsts = scale * np.arange(n_out)
    offsets, weights = _kernel(psf, scale)
    return Banded(n_in, firsts[:, None] + offsets, np.broadcast_to(weights, (n_out, len(weights))))


def _kernel(psf: Psf, scale: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the taps of one LR pixel: their offsets from its first HR pixel, and their weights."""
    sigma = psf.width(scale)
    if sigma is None:
        return np.arange(scale), np.full(scale, 1.0 / scale)
    centre = (scale - 1) / 2 if psf.phase is None else float(psf.phase)
    # At least the pixels next to the centre, even for a very narrow Gaussian.
    reach = max(_REACH * sigma, 0.5) if psf.size is None else (psf.size - 1) / 2
    offsets = np.arange(ceil(centre - reach), floor(centre + reach) + 1)
    exponent = -0.5 * ((offsets - centre) / sigma) ** 2
    # Relative to the nearest pixel, because a very narrow Gaussian underflows otherwise.
    weights = np.exp(exponent - exponent.max())
    return offsets, weights / weights.sum()
