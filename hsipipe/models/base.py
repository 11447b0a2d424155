"""What every super-resolver is, and the one check of what it is given."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hsipipe.bands import band_label
from hsipipe.errors import ModelInputError

Batch = NDArray[np.float32]


@runtime_checkable
class SuperResolver(Protocol):
    """Predicts HR cubes out of LR cubes, and of nothing else: the truth has no way in."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    @property
    def scale(self) -> int:
        """Ratio of the pixel sizes, s."""

    @property
    def bands(self) -> int | None:
        """Bands C that it was made for; None: any number."""

    @property
    def nfe(self) -> int:
        """Network evaluations per image; 0 without a network."""

    def predict(self, lr: Batch, *, origin: tuple[int, int] = (0, 0)) -> Batch:
        """Predict deterministically.

        Args:
            lr: (B, C, h, w) float32, full range 1.0.
            origin: LR row and column of the images in their scene, for models whose noise has a place.

        Returns:
            (B, C, H, W) float32 with H = s h, W = s w.

        Raises:
            ModelInputError: See :func:`check_input`.
        """


@runtime_checkable
class SpreadResolver(SuperResolver, Protocol):
    """A super-resolver whose prediction is the mean of samples, and that knows how far they lie apart."""

    @property
    def samples(self) -> int:
        """Samples K of which a prediction is the mean; 1 where they would all be the same."""

    def with_samples(self, samples: int) -> "SpreadResolver":
        """The same weights with another number of samples."""

    def predict_with_spread(self, lr: Batch, *, origin: tuple[int, int] = (0, 0)) -> tuple[Batch, Batch]:
        """As :meth:`predict`, and with it the standard deviation of the samples.

        Args:
            lr: (B, C, h, w) float32, full range 1.0.
            origin: LR row and column of the images in their scene.

        Returns:
            Mean and standard deviation of the samples, each (B, C, H, W) float32. The deviation is that of a single
            sample (K - 1 in its denominator), and zero where there is but one.

        Raises:
            ModelInputError: See :func:`check_input`.
        """


@runtime_checkable
class SensorResolver(SuperResolver, Protocol):
    """A super-resolver that may serve sensors of other bands than those it was trained on."""

    @property
    def wavelength_nm(self) -> tuple[float, ...] | None:
        """Band centres (C,) of the sensor that it serves; None: bands are known by their number alone."""

    def for_wavelengths(self, wavelength_nm: Sequence[float]) -> "SensorResolver":
        """The same weights for a sensor of these band centres (C,).

        Raises:
            ModelInputError: It cannot; the message says why.
        """


def check_input(lr: NDArray[np.generic], *, bands: int | None, remedy: str | None = None) -> None:
    """Check a batch before a model touches it.

    Args:
        lr: Should be (B, C, h, w) float32 without NaN or Inf.
        bands: Bands that the model was made for; None: any number.
        remedy: What mends another number of bands, if it is not a choice of bands.

    Raises:
        ModelInputError: What was got, what was expected, how to mend it.
    """
    if not isinstance(lr, np.ndarray):
        raise ModelInputError(
            f"Got a {type(lr).__name__}, expected a numpy array (B, C, h, w) of float32; convert it first."
        )
    if lr.ndim != 4:
        hint = "add the batch axis with lr[None]" if lr.ndim == 3 else "arrange it as batch, band, row, column"
        raise ModelInputError(f"Got shape {lr.shape}, expected four dimensions (B, C, h, w); {hint}.")
    if 0 in lr.shape:
        raise ModelInputError(f"Got shape {lr.shape}, expected at least one image, band, row and column.")
    if bands is not None and lr.shape[1] != bands:
        raise ModelInputError(
            f"Got {lr.shape[1]} bands in shape {lr.shape}, expected {bands}; "
            f"{remedy or 'select the bands that the model was trained on, in their order (axis 1)'}."
        )
    if lr.dtype != np.float32:
        raise ModelInputError(
            f"Got {lr.dtype} values, expected float32 with 1.0 as the full range; "
            "divide by the data set's scale and use lr.astype(np.float32)."
        )
    finite = np.isfinite(lr)
    if not finite.all():
        band = int(np.argwhere(~finite)[0][1])
        raise ModelInputError(
            f"Got {int(lr.size - finite.sum())} NaN or Inf values, the first in {band_label(band)}, "
            "expected finite values; fill or crop them away."
        )
