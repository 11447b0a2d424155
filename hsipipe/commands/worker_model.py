"""Load the model of a prediction in another process: by its place, never by its weights."""

from dataclasses import dataclass
from pathlib import Path

from hsipipe.commands.early import REGISTRY
from hsipipe.errors import ParamsError
from hsipipe.methods.catalogue import load_model
from hsipipe.methods.posterior.method import Posterior
from hsipipe.methods.super_resolver import SuperResolver


@dataclass(frozen=True)
class WorkerModel:
    """A model by its place, called with a torch device to load it.

    Attributes:
        place: Folder, or URI of a version in the registry.
        sha256: Digest that it must have.
        is_sharp: Predict one sharp image.
        root: The project of the registry, which a worker sees under the same path, or has in ``MLFLOW_TRACKING_URI``;
            None: a folder.
    """

    place: str
    sha256: str
    is_sharp: bool = False
    root: Path | None = None

    @classmethod
    def of(cls, model: str, *, sha256: str, is_sharp: bool) -> "WorkerModel":
        """Return the model of a folder, or of a URI of the registry with a version."""
        if not model.startswith(REGISTRY):
            return cls(str(Path(model).absolute()), sha256, is_sharp)
        from hsipipe.model_registry.store import store_root

        return cls(model, sha256, is_sharp, store_root())

    def __call__(self, device: str) -> SuperResolver:
        """Load the model onto a device.

        Raises:
            MissingInputError: It is not there.
            IntegrityError: It has another digest.
        """
        if self.root is None:
            model: SuperResolver = load_model(self.place, device=device, sha256=self.sha256)
        else:
            from hsipipe.model_registry.load import PinnedModel, load_pinned

            name, _, version = self.place.removeprefix(REGISTRY).rpartition("/")
            model = load_pinned(self.root, PinnedModel(name, version, self.sha256), device=device)
        return sharp_mode(model) if self.is_sharp else model


def sharp_mode(model: SuperResolver) -> SuperResolver:
    """Return a posterior that predicts one sharp image.

    Raises:
        ParamsError: The model cannot.
    """
    if not isinstance(model, Posterior) or model.sampling is None or not model.can_be_sharp:
        raise ParamsError(f"{model.name} has no sharp mode; take a posterior such as dmgasr, or leave out --sharp.")
    return model.prepared(model.sampling.model_copy(update={"mode": "sharp"}))
