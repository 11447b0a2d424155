"""group-residual: one residual network for all groups of adjacent bands."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from hsipipe.artifacts.no_data import coarse_valid
from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import ModelInputError, ParamsError
from hsipipe.methods.base import Frame, TrainingData, sample_of
from hsipipe.methods.checkpoint import read_config
from hsipipe.methods.networks.groups import plan_groups
from hsipipe.methods.networks.layers import GridlessShuffle, PlainResidualBlock
from hsipipe.methods.self_ensemble import SelfEnsembleMethod, SelfEnsembleSettings
from hsipipe.params import Group, NonNegative, Positive
from hsipipe.patches.sample import PATCHES, mask_of
from hsipipe.storage.manifest import digest


class StartParams(Group):
    """A trained network whose weights a training starts from."""

    folder: str
    """Folder of a group-residual of the same scale, for any sensor."""
    sha256: str
    """Its digest, so that another network in that folder is another training."""


class GroupResidualSettings(SelfEnsembleSettings):
    """Sizes and training of group-residual."""

    n_subs: Positive
    """Adjacent bands of a group; all bands where a cube has fewer."""
    n_ovls: NonNegative
    """Bands that neighbouring groups share; their results are averaged there."""
    width: Positive
    """Features of the convolutions, all at LR resolution."""
    blocks: Positive
    """Residual blocks of two convolutions."""
    start: StartParams | None
    """Network whose weights and sizes the training starts from; None: random weights of the sizes above."""


class GroupResidual(SelfEnsembleMethod):
    """A CNN on the LR grid that sees one group of adjacent bands, and predicts the residual of its interpolation.

    The same network serves every group, as in the groups of DMGASR (arXiv 2402.17285, section 3.1) and SSPSR (arXiv
    2005.08752), but nothing follows that joins the groups. A training scene is then worth as many as it has groups, and
    the network cannot learn the spectra of the training scenes by heart. It costs G times a network of all bands.

    No layer has a bias, so that an image twice as bright gets twice the detail (Mohan et al., arXiv 1906.05478).
    """

    KIND: ClassVar[str] = "group-residual"
    DESCRIPTION: ClassVar[str] = "A residual network shared by groups of adjacent bands of the LR-HSI."
    Settings = GroupResidualSettings
    groups: Tensor
    joined: Tensor
    std: Tensor
    residual_rms: Tensor

    def __init__(self, frame: Frame, settings: GroupResidualSettings) -> None:
        super().__init__(frame, settings)
        size, width = min(settings.n_subs, frame.bands), settings.width
        plan = plan_groups(frame.bands, n_subs=size, n_ovls=min(settings.n_ovls, size - 1))
        self.head = nn.Conv2d(size, width, 3, padding=1, bias=False)
        self.body = nn.Sequential(*(PlainResidualBlock(width, bias=False) for _ in range(settings.blocks)))
        self.tail = nn.Conv2d(width, size * frame.scale**2, 3, padding=1, bias=False)
        self.shuffle = GridlessShuffle(frame.scale)
        # Training starts at bicubic.
        nn.init.zeros_(self.tail.weight)
        groups = torch.tensor(plan.starts)[:, None] + torch.arange(size)
        chosen = nn.functional.one_hot(groups.flatten(), frame.bands).T.float()
        self.register_buffer("groups", groups, persistent=False)
        self.register_buffer("joined", chosen / chosen.sum(dim=1, keepdim=True), persistent=False)
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("residual_rms", torch.ones(()))

    @classmethod
    def untrained(cls, settings: GroupResidualSettings, data: TrainingData) -> Self:
        """See :meth:`Method.untrained`.

        Raises:
            ParamsError: The network to start from is another method, or has another digest or scale.
            MissingInputError: Its folder holds no model.
        """
        if settings.start is None:
            return super().untrained(settings, data)
        return cls._loaded(settings.start).carried_to(data, settings)

    @classmethod
    def _loaded(cls, start: StartParams) -> Self:
        folder = Path(start.folder)
        kind = read_config(folder).get("kind")
        if kind != cls.KIND:
            raise ParamsError(f"start.folder {folder} holds a model of kind {kind!r}, expected {cls.KIND!r}.")
        if (found := digest(folder)) != start.sha256:
            raise ParamsError(f"start.sha256 is {start.sha256!r}, but {folder} has {found}; set start.sha256 to that.")
        return cls.load(folder)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a network without trained weights."""
        # Models that were saved before the setting existed lack it.
        return super().from_config({**config, "settings": {"start": None, **config["settings"]}})

    @property
    def group_bands(self) -> int:
        """Bands of a group."""
        return self.groups.shape[1]

    def forward(self, lr: Tensor) -> Tensor:
        """Predict the residual of the interpolated input: (B, C, h, w) to (B, C, H, W)."""
        batch, _, height, width = lr.shape
        each = (lr / self.std)[:, self.groups].flatten(0, 1)
        features = self.head(each)
        missing = self.shuffle(self.tail(features + self.body(features)))
        fine = missing.reshape(batch, -1, self.scale * height, self.scale * width)
        return torch.einsum("cg,bghw->bchw", self.joined, fine) * self.residual_rms

    def measure(self, data: TrainingData) -> None:
        """Measure the deviation of the input and the size of the residual, one number each for all bands."""
        sample = sample_of(data.train, 8 * PATCHES)
        low, residual = sample["lr"], sample["hr"] - upsample(sample["lr"], self.scale)
        if (mask := mask_of(sample)) is not None:
            low = np.moveaxis(low, 1, -1)[coarse_valid(mask, self.scale)]
            residual = np.moveaxis(residual, 1, -1)[mask]
        self.std.fill_(max(float(low.std()), 1e-6))
        self.residual_rms.fill_(max(float((residual**2).mean() ** 0.5), 1e-6))

    def carried_to(self, data: TrainingData, settings: GroupResidualSettings) -> Self:
        """Return the network for the sensor of other patches, with these weights as the start of a training.

        The weights are those of a group, so they fit any number of bands, and no wavelengths are needed. The residual
        is proportional to the input: the deviation of the new input changes the size of the features alone. One gain,
        fitted by least squares, adapts the detail to the new PSF.

        Args:
            data: Patches of the new sensor, of the same scale.
            settings: Training and prediction; the sizes are those of this network.

        Raises:
            ModelInputError: The scale is another one, or the patches have fewer bands than a group.
        """
        frame, size = data.frame, self.group_bands
        if frame.scale != self.scale or frame.bands < size:
            raise ModelInputError(
                f"{self.name} is for scale {self.scale} and groups of {size} bands; got scale {frame.scale} and "
                f"{frame.bands} bands."
            )
        ours = {"n_subs": size, **{name: getattr(self.settings, name) for name in ("n_ovls", "width", "blocks")}}
        other = super().untrained(settings.model_copy(update=ours), data)
        kept = {"std": other.std, "residual_rms": other.std * self.residual_rms / self.std}
        other.load_state_dict({**self.state_dict(), **kept})
        other.residual_rms.mul_(other._best_gain(data))
        return other

    def _best_gain(self, data: TrainingData) -> float:
        """Return the factor of the residual that is best in the mean square; 1 if the network adds nothing."""
        sample = sample_of(data.train, PATCHES)
        with torch.inference_mode():
            ours = self(torch.from_numpy(sample["lr"])).numpy()
        missing = sample["hr"] - upsample(sample["lr"], self.scale)
        if (mask := mask_of(sample)) is not None:
            ours, missing = (np.moveaxis(images, 1, -1)[mask] for images in (ours, missing))
        power = float(np.vdot(ours, ours))
        return float(np.vdot(ours, missing)) / power if power > 0 else 1.0
