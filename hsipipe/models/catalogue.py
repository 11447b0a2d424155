"""The models by name, and loading one from its folder."""

from pathlib import Path
from typing import Any

from hsipipe.models.base import SuperResolver
from hsipipe.models.checkpoint import read_config
from hsipipe.registry import Registry

MODELS: Registry[Any] = Registry(
    "model",
    {
        "dmgasr": "hsipipe.models.dmgasr:Dmgasr",
        "pca-residual": "hsipipe.models.pca_residual:PcaResidual",
        "fusion-fast": "hsipipe.models.fusion_fast:FusionFast",
        "ddpmfus": "hsipipe.models.ddpmfus:DdpmFus",
        "hsrdiff": "hsipipe.models.hsrdiff:HsrDiff",
        "residual-fusion": "hsipipe.models.residual_fusion:ResidualFusion",
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


def load_model(folder: str | Path, *, device: str = "cpu") -> SuperResolver:
    """Load a super-resolver that was trained and saved by this project; needs no MLflow.

    Args:
        folder: For example ``models/superresolver``.
        device: Where it runs, in torch's terms ("cuda", "cpu").

    Returns:
        A model with ``predict(lr)``: (B, C, h, w) float32 to (B, C, H, W).

    Raises:
        MissingInputError: The folder holds no model.
        IntegrityError: A file is corrupt.
        UnknownNameError: The folder holds a kind of model that this version does not know.
    """
    path = Path(folder)
    kind = str(read_config(path).get("kind", "(none)"))
    model: SuperResolver = MODELS[kind].load(path, device=device)
    return model
