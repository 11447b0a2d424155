"""The models by name, and loading one from its folder."""

from pathlib import Path
from typing import Any

from hsipipe.errors import IntegrityError
from hsipipe.methods.base import SuperResolver
from hsipipe.methods.checkpoint import read_config
from hsipipe.registry import Registry
from hsipipe.storage.manifest import digest, verify

MODELS: Registry[Any] = Registry(
    "model",
    {
        "dmgasr": "hsipipe.methods.dmgasr.method:Dmgasr",
        "pca-residual": "hsipipe.methods.pca_residual:PcaResidual",
        "fusion-fast": "hsipipe.methods.fusion_fast:FusionFast",
        "ddpmfus": "hsipipe.methods.ddpmfus:DdpmFus",
        "hsrdiff": "hsipipe.methods.hsrdiff:HsrDiff",
        "residual-fusion": "hsipipe.methods.residual_fusion:ResidualFusion",
    },
)


def saved_name(folder: Path) -> str:
    """The name in tables of the model saved in a folder, without loading its weights.

    Raises:
        MissingInputError: The folder holds no model.
        IntegrityError: Its configuration is not JSON.
    """
    config = read_config(folder)
    if "name" in config:
        return str(config["name"])
    objective = config.get("net", {}).get("objective")
    return "regression" if objective == "regression" else str(config.get("kind", "(none)"))


def load_model(folder: str | Path, *, device: str = "cpu", sha256: str | None = None) -> SuperResolver:
    """Load a super-resolver that was trained and saved by this project; needs no MLflow.

    Every byte is compared with the folder's manifest first.

    Args:
        folder: For example ``models/superresolver``.
        sha256: The digest that the folder must have, for example the tag ``sha256`` of a registered version; it is
            that of the manifest, which stands for the whole folder. None: any.
        device: Where it runs, in torch's terms ("cuda", "cpu").

    Returns:
        A model with ``predict(lr)``: (B, C, h, w) float32 to (B, C, H, W).

    Raises:
        MissingInputError: The folder holds no model, or no manifest.
        IntegrityError: A file is corrupt, or the folder is not the one that the digest is of.
        UnknownNameError: The folder holds a kind of model that this version does not know.
    """
    path = Path(folder)
    config = read_config(path)
    if sha256 is not None and (got := digest(path)) != sha256:
        raise IntegrityError(
            f"The model in {path} has the digest {got}, expected {sha256}; it is another model, or was changed. "
            "Copy the right one there."
        )
    verify(path)
    kind = str(config.get("kind", "(none)"))
    model: SuperResolver = MODELS[kind].load(path, device=device)
    return model
