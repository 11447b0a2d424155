"""The interface of a super-resolver, and the checks of its inputs."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hsipipe.bands import band_label
from hsipipe.errors import ModelInputError

Batch = NDArray[np.float32]


class SceneImage(Protocol):
    """An image that is in memory or is read by rows: an array, or a source of a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (bands, rows, columns)."""

    def __getitem__(self, index: Any, /) -> NDArray[np.float32]:
        """Return the rows ``image[:, start:stop]``."""


@runtime_checkable
class SuperResolver(Protocol):
    """Predicts HR cubes from LR cubes and, for fusion, an HR-MSI; it never gets the truth."""

    @property
    def name(self) -> str:
        """Name in tables."""

    @property
    def scale(self) -> int:
        """Ratio of the pixel sizes, s."""

    @property
    def bands(self) -> int | None:
        """Bands C that it was made for; None: any number."""

    @property
    def msi_bands(self) -> int | None:
        """Bands c of the HR-MSI that it fuses; 0: it takes no HR-MSI; None: any number."""

    @property
    def nfe(self) -> int:
        """Network evaluations per image; 0 without a network."""

    def predict(self, lr: Batch, *, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)) -> Batch:
        """Predict deterministically.

        Args:
            lr: (B, C, h, w) float32, full range 1.0.
            msi: HR-MSI (B, c, H, W) float32 of the same area, for a model that fuses.
            origin: LR row and column of the images in their scene, for models whose noise is tied to the position.

        Returns:
            (B, C, H, W) float32 with H = s h, W = s w.

        Raises:
            ModelInputError: See :func:`check_input` and :func:`check_msi`.
        """


@runtime_checkable
class SceneResolver(SuperResolver, Protocol):
    """A super-resolver that computes statistics of a whole scene before it predicts its tiles.

    Unless :meth:`for_scene` has bound it to a scene, :meth:`predict` treats each image as a whole scene.
    """

    def for_scene(self, lr: SceneImage, msi: SceneImage) -> "SuperResolver":
        """Return a copy that shares the weights, bound to a scene, so that its tiles agree.

        Args:
            lr: The whole LR-HSI (C, h, w) float32, which is read once from top to bottom.
            msi: The whole HR-MSI (c, H, W) float32, also.

        Raises:
            ModelInputError: As for :meth:`predict`.
        """


@runtime_checkable
class SampleResolver(SuperResolver, Protocol):
    """A super-resolver that can draw samples of what the HR cube may be."""

    @property
    def varies(self) -> bool:
        """False if all samples are equal, as those of a regression."""

    @property
    def sample_nfe(self) -> int:
        """Network evaluations of a sample."""

    @property
    def averages(self) -> bool:
        """True if a prediction is the mean of samples; False if it is a regression's, and samples lie around it."""

    @property
    def interval_scale(self) -> float:
        """Factor on the width of intervals, by which they covered their share of the validation; 1: not calibrated."""

    def draw(
        self, lr: Batch, *, count: int, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)
    ) -> Iterator[Batch]:
        """Draw samples, one after the other.

        Args:
            lr: (B, C, h, w) float32, full range 1.0.
            count: Number K of samples. The k-th depends on its number and its place alone.
            msi: HR-MSI (B, c, H, W) float32, for a model that fuses.
            origin: LR row and column of the images in their scene.

        Yields:
            (B, C, H, W) float32.

        Raises:
            ModelInputError: See :func:`check_input` and :func:`check_msi`.
        """

    def predict_with_spread(
        self, lr: Batch, *, count: int, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)
    ) -> tuple[Batch, Batch]:
        """Predict, and return the standard deviation of `count` samples (K - 1 in its denominator), both (B, C, H, W).

        A model without a regression predicts the mean of these samples.

        Raises:
            ModelInputError: See :func:`check_input` and :func:`check_msi`.
        """


@runtime_checkable
class ComponentResolver(SuperResolver, Protocol):
    """A super-resolver that adds a few spectra, each with an image of its weights, to an interpolated LR image.

    A scene is blended from these images, so that each of its pixels is expanded to all bands once, not once for each
    tile that covers it.
    """

    @property
    def spectra(self) -> NDArray[np.float32]:
        """Spectra (K, C) of the components."""

    def parts(self, lr: Batch, *, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)) -> tuple[Batch, Batch]:
        """Return LR images (B, C, h, w), and components (B, K, H, W).

        The prediction is the bicubic interpolation of the first plus the second times `spectra`.

        Args:
            lr: (B, C, h, w) float32.
            msi: As for :meth:`predict`.
            origin: LR row and column of the images in their scene.

        Raises:
            ModelInputError: See :func:`check_input`.
        """


@runtime_checkable
class SensorResolver(SuperResolver, Protocol):
    """A super-resolver that can serve sensors with other bands than those it was trained on."""

    @property
    def wavelength_nm(self) -> tuple[float, ...] | None:
        """Band centres (C,) of the sensor that it serves; None: bands are identified by their number only."""

    def for_wavelengths(self, wavelength_nm: Sequence[float]) -> "SensorResolver":
        """Return a copy that shares the weights, for a sensor with these band centres (C,).

        Raises:
            ModelInputError: The model does not support them; the message says why.
        """


def check_input(lr: NDArray[np.generic], *, bands: int | None, remedy: str | None = None) -> None:
    """Check the LR batch of a prediction.

    Args:
        lr: Should be (B, C, h, w) float32 without NaN or Inf.
        bands: Bands that the model was made for; None: any number.
        remedy: How to fix a wrong number of bands, if not by selecting bands.

    Raises:
        ModelInputError: The check failed; the message says what was got, what was expected, and how to fix it.
    """
    _check_batch(lr, name="lr", letters="B, C, h, w")
    if bands is not None and lr.shape[1] != bands:
        raise ModelInputError(
            f"Got {lr.shape[1]} bands in shape {lr.shape}, expected {bands}; "
            f"{remedy or 'select the bands that the model was trained on, in their order (axis 1)'}."
        )
    _check_values(lr, name="lr")


def check_msi(msi: NDArray[np.generic] | None, lr: NDArray[np.generic], *, scale: int, bands: int | None) -> Batch:
    """Check the HR-MSI of a batch against the checked LR batch, and return it.

    Args:
        msi: Should be (B, c, H, W) float32 of the same area as `lr`, without NaN or Inf.
        lr: (B, C, h, w).
        scale: Ratio s that the model was made for.
        bands: Bands c that the model was made for; None: any number.

    Raises:
        ModelInputError: The check failed; the message says what was got, what was expected, and how to fix it.
    """
    if msi is None:
        raise ModelInputError(
            "Got no HR-MSI, expected one beside the LR-HSI, because this model fuses the two; give it as msi= "
            "(B, c, H, W), or take a single-image model."
        )
    _check_batch(msi, name="msi", letters="B, c, H, W")
    if len(msi) != len(lr):
        raise ModelInputError(f"Got {len(msi)} HR-MSI for {len(lr)} LR-HSI, expected one for each.")
    check_pair(msi.shape, lr.shape, scale=scale, bands=bands)
    _check_values(msi, name="msi")
    return np.asarray(msi, dtype=np.float32)


def check_pair(msi: tuple[int, ...], lr: tuple[int, ...], *, scale: int, bands: int | None) -> None:
    """Check that the sizes of two images match.

    Args:
        msi: Shape (B, c, H, W) of the HR-MSI.
        lr: Shape (B, C, h, w) of the LR-HSI.
        scale: Ratio s that the model was made for.
        bands: Bands c that the model was made for; None: any number.

    Raises:
        ModelInputError: They do not.
    """
    expected = tuple(scale * size for size in lr[2:])
    if msi[2:] != expected:
        raise ModelInputError(_misfit(msi, lr, scale=scale, expected=expected))
    if bands is not None and msi[1] != bands:
        raise ModelInputError(
            f"Got an HR-MSI of {msi[1]} bands, expected {bands}; select the bands that the model was trained "
            "with, in their order (axis 1)."
        )


def refuse_msi(msi: NDArray[np.generic] | None, *, name: str) -> None:
    """Refuse an HR-MSI given to a single-image model, so that nobody assumes that it was used.

    Raises:
        ModelInputError: An HR-MSI is given.
    """
    if msi is not None:
        raise ModelInputError(
            f"Got an HR-MSI, but {name} super-resolves the LR-HSI alone; leave it out, or take a fusion model."
        )


def _misfit(msi: tuple[int, ...], lr: tuple[int, ...], *, scale: int, expected: tuple[int, ...]) -> str:
    ratios = tuple(high / low for high, low in zip(msi[2:], lr[2:], strict=True))
    got = (
        f"Got an HR-MSI of {msi[2]} x {msi[3]} pixels for an LR-HSI of {lr[2]} x {lr[3]}, expected "
        f"{expected[0]} x {expected[1]} at scale {scale}"
    )
    if ratios[0] != ratios[1] or ratios[0] % 1:
        return (
            f"{got}: the ratio is {ratios[0]:.4g} x {ratios[1]:.4g} and must be one whole number; crop both to the "
            "same ground, or resample the HR-MSI to a pixel that divides that of the LR-HSI."
        )
    return f"{got}: the ratio is {ratios[0]:g}; take a model of that scale, or resample the HR-MSI."


def _check_batch(images: NDArray[np.generic], *, name: str, letters: str) -> None:
    if not isinstance(images, np.ndarray):
        raise ModelInputError(
            f"Got a {type(images).__name__}, expected a numpy array ({letters}) of float32; convert it first."
        )
    if images.ndim != 4:
        hint = f"add the batch axis with {name}[None]" if images.ndim == 3 else "arrange it as batch, band, row, column"
        raise ModelInputError(f"Got shape {images.shape}, expected four dimensions ({letters}); {hint}.")
    if 0 in images.shape:
        raise ModelInputError(f"Got shape {images.shape}, expected at least one image, band, row and column.")


def _check_values(images: NDArray[np.generic], *, name: str) -> None:
    if images.dtype != np.float32:
        raise ModelInputError(
            f"Got {images.dtype} values, expected float32 with 1.0 as the full range; "
            f"divide by the data set's scale and use {name}.astype(np.float32)."
        )
    finite = np.isfinite(images)
    if not finite.all():
        band = int(np.argwhere(~finite)[0][1])
        raise ModelInputError(
            f"Got {int(images.size - finite.sum())} NaN or Inf values, the first in {band_label(band)}, "
            "expected finite values; fill or crop them away."
        )
