"""The base classes of all methods. A method is a row of the result table, trained or not.

Subclass :class:`Method` for a method without training, :class:`hsipipe.methods.network_method.NetworkMethod` for a
network that takes the LR-HSI only, and :class:`hsipipe.methods.fusion.model.FusionModel` for a network that takes an
image pair, or :class:`hsipipe.methods.fusion.published.PublishedFusion` for one without diffusion and projection.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.methods.checkpoint import read_config, save_config
from hsipipe.methods.domain import Domain
from hsipipe.methods.super_resolver import Batch, SuperResolver
from hsipipe.params import Group, HardwareParams, SamplingParams
from hsipipe.patches.draws import Draws
from hsipipe.patches.sample import mask_of, spread

Network = Callable[..., Tensor]
"""A method's network, wrapped by the training loop; called as ``network(...)``, like ``forward``."""
Ceiling = Callable[[Batch, Batch | None, Batch], NDArray[Any]]
"""Maps LR-HSI (C, h, w), HR-MSI (c, H, W) or None, and truth (C, H, W) to an upper bound (C, H, W)."""


class NoSettings(Group):
    """Settings of a method without settings."""


@dataclass(frozen=True, eq=False)
class Frame:
    """The sensors and images that a method is made for.

    Attributes:
        bands: Bands C of the HSI.
        scale: Ratio s of the pixel sizes.
        psf: PSF of the HSI's sensor.
        msi_bands: Bands c of the HR-MSI; 0: no HR-MSI.
        response: Spectral response (c, C) of the HR-MSI's sensor; None: unknown.
        patch: Edge of a training patch in HR pixels.
        wavelength_nm: Band centres (C,); None: unknown.
    """

    bands: int
    scale: int
    psf: Psf = BICUBIC
    msi_bands: int = 0
    response: NDArray[np.float64] | None = None
    patch: int = 64
    wavelength_nm: tuple[float, ...] | None = None

    @classmethod
    def of(cls, patches: PatchArrays) -> "Frame":
        """Read the sensors and sizes from a patch store."""
        attrs = patches.attrs
        bands, patch, _ = patches.shape("hr")
        centres, response = attrs.get("wavelength_nm"), attrs.get("response")
        return cls(
            bands,
            int(attrs["scale"]),
            Psf(**attrs["psf"]),
            patches.shape("msi")[0] if "msi" in patches.names else 0,
            None if response is None else np.asarray(response, dtype=np.float64),
            patch,
            None if centres is None else tuple(map(float, centres)),
        )


@dataclass(frozen=True)
class TrainingData:
    """The patches that a method is trained on and validated on.

    Attributes:
        train: ``train.zarr`` of the patch store.
        val: ``val.zarr`` of the patch store.
        latents: Folder of the latents, for a method that is trained on latents.
        gae: Folder of the autoencoder that encoded them.
        mean: Folder of the regression whose residual a posterior is trained on.
    """

    train: PatchArrays
    val: PatchArrays
    latents: Path | None = None
    gae: Path | None = None
    mean: Path | None = None

    @property
    def frame(self) -> Frame:
        """The sensors of the patches."""
        return Frame.of(self.train)


class Method(ABC):
    """A row of the result table. It gets the observations only, never the truth.

    Attributes:
        KIND: Name of the class's first entry in the catalogue; it identifies the class of a saved model.
        DESCRIPTION: One sentence on the methods of this class.
        FUSES: Whether it needs an HR-MSI.
        WHOLE_SCENE: Whether it takes a scene as one image instead of tiles.
        Settings: Type of its entry in params.yaml.
        scale: Ratio s of the pixel sizes.
        label: Name of its row; None: use KIND.
        domain: What it was trained on; None: it is not trained, or was trained by an earlier version.
    """

    KIND: ClassVar[str]
    DESCRIPTION: ClassVar[str]
    FUSES: ClassVar[bool] = False
    WHOLE_SCENE: ClassVar[bool] = False
    Settings: ClassVar[type[Group]] = NoSettings
    scale: int
    label: str | None = None
    domain: Domain | None = None

    @property
    def name(self) -> str:
        """Name of its row in tables."""
        return self.label or self.KIND

    @property
    def description(self) -> str:
        """One sentence or two for the report."""
        return self.DESCRIPTION

    @property
    def bands(self) -> int | None:
        """Bands C that it was made for; None: any number."""
        return None

    @property
    def msi_bands(self) -> int | None:
        """Bands c of the HR-MSI that it fuses; 0: it takes no HR-MSI; None: any number."""
        return None if self.FUSES else 0

    @property
    def nfe(self) -> int:
        """Network evaluations per image; 0 without a network."""
        return 0

    @abstractmethod
    def predict(self, lr: Batch, *, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)) -> Batch:
        """Predict (B, C, H, W) from (B, C, h, w); see :class:`hsipipe.methods.super_resolver.SuperResolver`."""

    @classmethod
    @abstractmethod
    def untrained(cls, settings: Any, data: TrainingData) -> Self:
        """Make the method before its first training step; measure the statistics of the training patches that it needs.

        Args:
            settings: An instance of `Settings`.
            data: The patches.
        """

    def prepared(self, sampling: SamplingParams) -> Self:
        """Return the method with predictions made by `sampling`, sharing the weights; by default unchanged."""
        del sampling
        return self

    def ceilings(self) -> Mapping[str, Ceiling]:
        """Upper bounds that use the truth, by the name of their row; they are never results."""
        return {}

    @property
    def components(self) -> int | None:
        """Numbers per pixel of its spectral representation, for a PCA ceiling of the same size; None: no ceiling."""
        return None

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the plain values from which :meth:`load` builds the same method; saving adds ``kind`` and ``name``."""

    def save(self, folder: Path) -> None:
        """Write the method and the domain of its training into the existing `folder`."""
        self.write(folder)
        if self.domain is not None:
            self.domain.write(folder)

    def write(self, folder: Path) -> None:
        """Write configuration and, if there are any, weights into the existing `folder`."""
        save_config(folder, {"kind": self.KIND, "name": self.name, **self.config()})

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the method without trained weights."""

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu") -> Self:
        """Load a method that :meth:`save` wrote, onto a device.

        Raises:
            MissingInputError: The folder has no model.
            IntegrityError: A file is corrupt.
        """
        del device
        config = read_config(folder)
        return cls.from_config(config).named(config.get("name"))

    def named(self, label: str | None) -> Self:
        """Name the method after another entry of the catalogue, and return it."""
        object.__setattr__(self, "label", label)  # some methods are frozen dataclasses
        return self

    def within(self, domain: Domain | None) -> Self:
        """Set the domain of the training, and return the method."""
        object.__setattr__(self, "domain", domain)
        return self


class Trainable(Method):
    """A method with training; :func:`hsipipe.training.train.train_method` trains it.

    Attributes:
        ARRAYS: Arrays of a training batch.
        JUDGED_BY: The number of :meth:`judge` that chooses a checkpoint.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("hr", "lr")
    JUDGED_BY: ClassVar[str] = "val_mpsnr_db"

    def network(self) -> nn.Module:
        """The module whose weights are trained."""
        return cast(nn.Module, self)

    def with_network(self, network: nn.Module) -> Self:
        """Return the method with other weights of :meth:`network`, such as their moving average."""
        return cast(Self, network)

    def batches_from(self, data: TrainingData) -> Path:
        """The store of training batches."""
        return data.train.path

    def cut(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Return the part of a batch to train on in this step; by default all of it."""
        del draws
        return batch

    @abstractmethod
    def loss(self, network: Network, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        """Compute the loss of a batch. The mean over equal parts of a batch is the loss of the whole batch.

        Args:
            network: :meth:`network`, wrapped by the training loop; call it where gradients are needed.
            batch: The arrays of `ARRAYS`, on the device; also ``valid`` (B, 1, H, W) where pixels have no data, for
                :func:`hsipipe.methods.losses.at_valid`.
            draws: Random numbers of this step.
        """

    def judge(self, patches: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Return numbers of the validation, first the one that chooses a checkpoint; by default the MPSNR.

        Of the first number more is better.

        Args:
            patches: Validation patches, ``lr`` (N, C, h, w), ``hr`` (N, C, H, W) and, for a fusion, ``msi``.
        """
        return {"val_mpsnr_db": validation_psnr_db(self, patches)}

    def calibrate(self, patches: Mapping[str, NDArray[Any]]) -> Mapping[str, float]:
        """Measure on validation patches, after the training, what a prediction needs; by default nothing.

        Returns:
            The numbers of :meth:`judge` that this changes.
        """
        del patches
        return {}

    @classmethod
    def check_hardware(cls, settings: Any, hardware: HardwareParams) -> None:
        """Check that the training can use the hardware.

        Raises:
            ParamsError: It cannot; the message says what to change.
        """
        del settings, hardware


def sample_of(patches: PatchArrays, wanted: int) -> dict[str, NDArray[Any]]:
    """Read at most `wanted` patches, evenly spread over a store, for statistics."""
    return patches.read(spread(len(patches), wanted))


def as_tensor(image: np.ndarray, *, like: Tensor) -> Tensor:
    """Convert (C, H, W) to a batch of one, on the device of `like`."""
    # A copy, because torch accepts neither read-only arrays nor negative strides.
    return torch.from_numpy(np.array(image[None], dtype=np.float32)).to(like.device)


def as_batch(images: "list[Tensor] | tuple[Tensor, ...] | Iterator[Tensor]") -> np.ndarray:
    """Concatenate images (1, C, H, W) to one array (B, C, H, W) float32."""
    arrays = [image.float().cpu().numpy() for image in images]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def validation_psnr_db(model: SuperResolver, patches: Mapping[str, NDArray[Any]]) -> float:
    """MPSNR in dB of the predictions, clipped to the full range 0..1.

    Errors are averaged over all patches before the logarithm, as in a scene that the patches were cut from. The mean of
    the patches' PSNR would be dominated by dark and flat patches, in which hardly any gain is possible. Pixels without
    data are in no error.

    Args:
        model: Predicts each patch separately.
        patches: ``lr`` (N, C, h, w) and ``hr`` (N, C, H, W); ``msi`` (N, c, H, W) for a model that fuses.
            ``valid`` (N, 1, H, W) where some pixels have no data.
    """
    errors, counts, mask = [], [], mask_of(patches)
    for number, (lr, hr) in enumerate(zip(patches["lr"], patches["hr"], strict=True)):
        beside = {"msi": patches["msi"][number][None]} if "msi" in patches else {}
        error = np.square(model.predict(lr[None], **beside)[0].clip(0, 1) - hr)
        errors.append(error.mean(axis=(1, 2)) if mask is None else error[:, mask[number]].mean(axis=1))
        counts.append(1 if mask is None else int(mask[number].sum()))
    mse = np.mean(errors, axis=0) if mask is None else np.average(errors, axis=0, weights=counts)
    return float(-10 * np.log10(np.maximum(mse, 1e-12)).mean())
