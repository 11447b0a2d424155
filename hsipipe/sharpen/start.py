"""A trained network whose weights a training on a scene starts from."""

from dataclasses import dataclass

from hsipipe.errors import ModelInputError
from hsipipe.methods.base import Method, Trainable
from hsipipe.methods.group_residual import GroupResidual
from hsipipe.sharpen.candidates import NETWORKS

_GIVE = f"give a trained {NETWORKS[False]}"


@dataclass(frozen=True, eq=False)
class Start:
    """A network to start from.

    Attributes:
        model: The network.
        place: Its folder, or the URI of its version in the registry.
        name: Name in the registry; that of its method for a folder.
        version: Version in the registry; None for a folder.
        sha256: Digest of its folder.
    """

    model: GroupResidual
    place: str
    name: str
    version: str | None
    sha256: str

    def about(self) -> dict[str, str | None]:
        """Return name, version, place and digest as plain JSON."""
        return {"name": self.name, "version": self.version, "place": self.place, "sha256": self.sha256}

    def check(self, *, bands: int, scale: int) -> None:
        """Check that the network fits a scene.

        Raises:
            ModelInputError: It is for another scale, or the scene has fewer bands than a group.
        """
        if scale != self.model.scale:
            raise ModelInputError(
                f"{self.place} is trained for scale {self.model.scale}, got --scale {scale}; give a model of that "
                f"scale, or --scale {self.model.scale}."
            )
        if bands < self.model.group_bands:
            raise ModelInputError(
                f"{self.place} works on groups of {self.model.group_bands} bands, and the scene has {bands}; leave out "
                "--start."
            )


def startable(model: Method, place: str) -> GroupResidual:
    """Return a model as the network that a training on a scene of any sensor can start from.

    Raises:
        ModelInputError: It has no weights, fuses an HR-MSI, or its weights fit the bands of one sensor alone.
    """
    if isinstance(model, GroupResidual):
        return model
    if not isinstance(model, Trainable):
        reason = "has no weights to start from"
    elif model.FUSES:
        reason = "fuses an HR-MSI, and --start is for a single image"
    else:
        reason = "cannot carry over to another sensor"
    raise ModelInputError(f"{place} is {model.name}, which {reason}; {_GIVE}.")
