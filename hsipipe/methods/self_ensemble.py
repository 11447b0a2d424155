"""The base of networks that can predict the mean over turned and mirrored images."""

from typing import Any, ClassVar, Self, cast

from torch import Tensor

from hsipipe.errors import ParamsError
from hsipipe.methods.base import Frame
from hsipipe.methods.network_method import LossSettings, NetworkMethod
from hsipipe.methods.networks.symmetries import SYMMETRIES, mean_over_symmetries


class SelfEnsembleSettings(LossSettings):
    """Settings of a network with a self-ensemble."""

    self_ensemble: bool
    """Predict the mean over the eight turned and mirrored images, each turned back; a training is the same without."""


class SelfEnsembleMethod(NetworkMethod):
    """A :class:`NetworkMethod` whose prediction is, where it is set, the mean over eight views of the image.

    Raises:
        ParamsError: The PSF is not centred, so that mirrored pairs would not be consistent.
    """

    Settings: ClassVar[type[LossSettings]] = SelfEnsembleSettings

    def __init__(self, frame: Frame, settings: Any) -> None:
        super().__init__(frame, settings)
        if settings.self_ensemble and not frame.psf.is_centred(frame.scale):
            raise ParamsError(
                f"Got self_ensemble with a PSF at phase {frame.psf.phase}, expected one at the centre of the LR pixel, "
                f"since mirrored pairs would not be consistent; take {self.KIND}."
            )

    @property
    def nfe(self) -> int:
        """Network evaluations per image."""
        return SYMMETRIES if self.settings.self_ensemble else 1

    def residual(self, lr: Tensor) -> Tensor:
        """Predict as :meth:`forward`, by the self-ensemble where it is set."""
        return mean_over_symmetries(self, lr) if self.settings.self_ensemble else cast(Tensor, self(lr))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a network without trained weights."""
        # Models that were saved before the setting existed lack it.
        return super().from_config({**config, "settings": {"self_ensemble": False, **config["settings"]}})
