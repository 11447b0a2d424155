"""Hyperspectral image super-resolution: data, degradation, diffusion models and honest evaluation.

The names below are the stable Python API; everything else is reached through its module.
They are loaded on first use, so that ``import hsipipe`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hsipipe.degradation.api import degrade
    from hsipipe.evaluation.scoring import score
    from hsipipe.formats import open_cube, save_cube
    from hsipipe.methods.catalogue import load_model

__all__ = ["degrade", "load_model", "open_cube", "save_cube", "score"]

_HOME = {
    "degrade": "hsipipe.degradation.api",
    "load_model": "hsipipe.methods.catalogue",
    "open_cube": "hsipipe.formats",
    "save_cube": "hsipipe.formats",
    "score": "hsipipe.evaluation.scoring",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hsipipe' has no attribute {name!r}; it has {', '.join(__all__)}")
