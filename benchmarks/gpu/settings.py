"""The parameters of each model: a preset over params.yaml, shortened, with every change on record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from packing import FULL_SCALE

from hsipipe.formats.cave_png import WAVELENGTH_NM
from hsipipe.methods.presets import load_preset, preset_names
from hsipipe.params import Params, parse_params

_SHORTENED: dict[str, dict[str, Any]] = {
    # Weights of VGG19 would have to be fetched; and 1e-5 is the step of a fine-tuning of 200,000 steps.
    "dmgasr-paper": {
        "gae": {"loss": {"perceptual": 0.0}},
        "diffusion": {"optimizer": {"lr": 1e-4}},
    },
}
_TINY: dict[str, Any] = {
    "patches": {"size": 32, "stride": 32},
    "gae": {"width": 8, "blocks": 1, "global_width": 8, "global_blocks": 1, "optimizer": {"batch": 2}},
    "diffusion": {
        "validation_steps": 1,
        "unet": {"width": 16, "multipliers": [1], "blocks": 1, "attention": []},
        "optimizer": {"batch": 2},
    },
    "control": {"width": 8, "blocks": 1, "optimizer": {"batch": 2}},
    "sampling": {"steps": 2},
}


def settings(
    root: Path, model: str, scenes: Path, *, packed: bool, tiny: bool, compiled: bool
) -> tuple[Params, dict[str, Any]]:
    """The parameters of a model, and what differs from its preset.

    Args:
        root: The project, for params.yaml.
        model: Name of a preset; a name that is none stands for params.yaml as it is.
        scenes: The scenes, in CAVE's layout or unpacked.
        packed: They were packed.
        tiny: Small networks.
        compiled: With torch.compile, on a GPU.
    """
    where = hardware(compiled=compiled)
    preset = load_preset(model) if model in preset_names() else {}
    base = merged(yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")), preset)
    changes = merged(_SHORTENED.get(model, {}), _TINY if tiny else {})
    # Warm-up and the steps themselves follow from the time; see trainings.plan.
    tree = merged(merged(base, changes), {"dataset": _dataset(scenes, packed=packed), "hardware": where})
    return parse_params(tree, source=model), changes | {"hardware": where}


def hardware(*, compiled: bool) -> dict[str, Any]:
    """bf16 and, if it is wanted, torch.compile on a GPU; plain float32 on a CPU."""
    gpu = torch.cuda.is_available()
    precision = "bf16-mixed" if gpu else "32-true"
    return {"accelerator": "auto", "precision": precision, "compile": gpu and compiled}


def merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` with the leaves of `changes`."""
    nested = {
        key: merged(tree[key], value)
        for key, value in changes.items()
        if isinstance(value, Mapping) and isinstance(tree.get(key), Mapping)
    }
    return {**tree, **changes, **nested}


def _dataset(scenes: Path, *, packed: bool) -> dict[str, Any]:
    if not packed:
        return {"name": "cave", "root": str(scenes)}
    folder = {"full_scale": float(FULL_SCALE), "wavelength_nm": list(WAVELENGTH_NM)}
    return {"name": "folder", "root": str(scenes), "folder": folder}
