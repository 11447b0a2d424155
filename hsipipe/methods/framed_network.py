"""The base of networks that are built for the sensors of their training: initial weights, saving, loading."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from hsipipe.degradation.psf import Psf
from hsipipe.methods.base import Frame, Trainable, TrainingData
from hsipipe.methods.checkpoint import load_module, read_config, save_checkpoint
from hsipipe.params import TrainingParams


class FramedNetwork(nn.Module, Trainable):
    """A network of one evaluation for given sensors.

    Args:
        frame: The sensors.
        settings: An instance of `Settings`.
    """

    Settings: ClassVar[type[TrainingParams]] = TrainingParams
    anchor: Tensor

    def __init__(self, frame: Frame, settings: Any) -> None:
        super().__init__()
        self.frame, self.settings, self.scale = frame, settings, frame.scale
        # A buffer for the device, since a network may have no parameters.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    @property
    def psf(self) -> Psf:
        """PSF of the LR images that it is trained for."""
        return self.frame.psf

    @property
    def bands(self) -> int:
        """Band count C."""
        return self.frame.bands

    @property
    def nfe(self) -> int:
        """Network evaluations per image."""
        return 1

    @classmethod
    def untrained(cls, settings: Any, data: TrainingData) -> Self:
        """Build the network with initial weights drawn by the seed, then :meth:`measure` the training patches."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            method = cls(data.frame, settings)
        method.measure(data)
        return method

    def measure(self, data: TrainingData) -> None:
        """Measure statistics of the training patches and store them in buffers; by default none."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return frame and sizes as plain values."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a network without trained weights."""

    def write(self, folder: Path) -> None:
        """Write weights and configuration into the existing `folder`."""
        save_checkpoint(
            folder, weights=self.state_dict(), config={"kind": self.KIND, "name": self.name, **self.config()}
        )

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu") -> Self:
        """Load a network that :meth:`save` wrote, onto a device; see :meth:`Method.load`."""
        return load_module(folder, cls.from_config).to(device).named(read_config(folder).get("name"))
