"""Fusion methods without training; each treats an image as a whole scene."""

from abc import abstractmethod
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.estimate import estimate_response
from hsipipe.degradation.psf import Psf
from hsipipe.errors import ModelInputError
from hsipipe.methods.base import Method, TrainingData
from hsipipe.methods.super_resolver import Batch, check_input, check_msi
from hsipipe.params import SamplingParams

_BYTES = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class WholeSceneFusion(Method):
    """A method that fuses LR-HSI and HR-MSI by statistics of the pair itself.

    Attributes:
        scale: Ratio of the pixel sizes, s.
        psf: PSF of the LR sensor.
        response: Spectral response (c, C) of the MSI; None: estimated from each pair.
    """

    FUSES: ClassVar[bool] = True
    WHOLE_SCENE: ClassVar[bool] = True
    scale: int
    psf: Psf
    # Comparing arrays gives an array, so exclude them from the comparison of models.
    response: NDArray[Any] | None = field(default=None, compare=False)

    @classmethod
    def untrained(cls, settings: Any, data: TrainingData) -> Self:
        """Take scale, PSF and response from the patches, and the other fields from the settings of the same name."""
        frame = data.frame
        return cls(frame.scale, frame.psf, frame.response, **settings.model_dump())

    def prepared(self, sampling: SamplingParams) -> Self:
        """Return the method; estimate the response from each pair if `sampling` says so."""
        return replace(self, response=None) if sampling.response == "estimated" else self

    def config(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        response = None if self.response is None else np.asarray(self.response).tolist()
        return {**values, "psf": asdict(self.psf), "response": response}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverse of :meth:`config`."""
        own = {entry.name: config[entry.name] for entry in fields(cls)}
        response = None if own["response"] is None else np.asarray(own["response"], dtype=np.float64)
        return cls(**{**own, "psf": Psf(**own["psf"]), "response": response})

    def working_bytes(self, bands: int) -> int:
        """Return the bytes for each HR pixel while a scene of `bands` bands is fused, its result included.

        The factors of the methods are peaks of allocations, by `benchmarks/whole_scene_memory.py`.
        """
        return 2 * _BYTES * bands

    def predict(self, lr: Batch, *, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)) -> Batch:
        """Fuse each image separately.

        Args:
            lr: (B, C, h, w) float32, full range 1.0.
            msi: HR-MSI (B, c, H, W) float32 of the same area.
            origin: No effect.

        Returns:
            (B, C, H, W) float32.

        Raises:
            ModelInputError: See :func:`check_input` and :func:`check_msi`; or the response has other band counts.
        """
        del origin
        low, high = self.checked(lr, msi)
        return np.stack([np.asarray(self.fuse(a, b), dtype=np.float32) for a, b in zip(low, high, strict=True)])

    def checked(self, lr: Batch, msi: Batch | None) -> tuple[Batch, Batch]:
        """Check a batch of pairs and return it.

        Raises:
            ModelInputError: See :meth:`predict`.
        """
        check_input(lr, bands=self.bands)
        high = check_msi(msi, lr, scale=self.scale, bands=self.msi_bands)
        self.check_response(lr.shape[1], high.shape[1])
        return lr, high

    def check_response(self, bands: int, msi_bands: int) -> None:
        """Check that a given response fits the numbers of bands.

        Raises:
            ModelInputError: It does not.
        """
        if self.response is not None and self.response.shape != (msi_bands, bands):
            raise ModelInputError(
                f"Got an HR-MSI of {msi_bands} and an LR-HSI of {bands} bands, expected a response of shape "
                f"({msi_bands}, {bands}), got {self.response.shape}; give that of these two sensors, or none."
            )

    @abstractmethod
    def fuse(self, lr: Batch, msi: Batch) -> NDArray[Any]:
        """Fuse one scene.

        Args:
            lr: (C, h, w) float32.
            msi: (c, H, W) float32.

        Returns:
            (C, H, W).
        """

    def response_of(self, lr: Batch, msi: Batch) -> NDArray[np.float64]:
        """Return the given response (c, C), or estimate it from the pair."""
        if self.response is not None:
            return np.asarray(self.response, dtype=np.float64)
        return estimate_response(lr, msi, scale=self.scale, psf=self.psf)


def pixels(image: NDArray[Any]) -> NDArray[Any]:
    """Reshape (C, H, W) to a matrix (C, H W), without a copy."""
    return image.reshape(len(image), -1)


def mix(matrix: NDArray[Any], image: NDArray[Any]) -> NDArray[Any]:
    """Mix bands: (k, C) times (C, H, W) to (k, H, W)."""
    return np.asarray(matrix @ pixels(image)).reshape(len(matrix), *image.shape[1:])


def regress(targets: NDArray[Any], *, on: NDArray[Any]) -> NDArray[np.float64]:
    """Compute least-squares weights (k, m) of the rows `on` (m, n) for `targets` (k, n), of least norm if ambiguous."""
    # The cutoff discards directions that come from float32 rounding only.
    weights = np.linalg.lstsq(np.asarray(on.T, dtype=np.float64), np.asarray(targets.T, dtype=np.float64), rcond=1e-6)
    return np.asarray(weights[0].T)
