"""The methods that are compared on a scene: interpolation, methods without training, and one trained network."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar

import yaml

from hsipipe.degradation.psf import Psf
from hsipipe.methods.base import Method
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.catalogue import methods
from hsipipe.params import Group, parse_group

BASELINE = "bicubic"
SINGLE = ("back-projection",)
"""Methods of one image without training."""
PAIR = ("guided-projection", "sfim", "gsa", "mtf-glp", "mtf-glp-hpm", "fuse", "mapsmm", "cnmf", "spectralift", "hysure")
"""Methods of a pair without training, the fastest first."""
NETWORKS = {False: "group-residual", True: "fusion-fast-regression"}
"""The network that is trained, by whether there is an HR-MSI."""
_SETTINGS = "settings.yaml"


@dataclass(frozen=True)
class TiledBicubic(Bicubic):
    """Bicubic interpolation in tiles, so that a scene of any size can be written; the values are the same."""

    WHOLE_SCENE: ClassVar[bool] = False
    context: ClassVar[int] = 4
    """LR pixels around a tile that its values depend on, and two more."""


def untrained(name: str, *, scale: int, psf: Psf) -> Method:
    """Return a method without training for a ratio of the pixel sizes and a PSF.

    The spectral response of an HR-MSI is estimated from each pair.
    """
    if name == BASELINE:
        return TiledBicubic(scale)
    kind: Any = methods()[name]
    made: Method = kind(scale, psf, **_tree().get(name, {}))
    return made


def network_settings(name: str) -> Any:
    """Return the checked settings of a network.

    Raises:
        ParamsError: A key is unknown, missing or invalid.
    """
    settings: Group = parse_group(methods()[name].Settings, _tree()[name], source=_SETTINGS, prefix=f"{name}.")
    return settings


def started(settings: Any) -> Any:
    """Return the settings of a network for a training from given weights, which takes smaller steps."""
    optimizer = settings.optimizer.model_copy(update=_tree()["start"])
    return settings.model_copy(update={"optimizer": optimizer})


@cache
def _tree() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(files("hsipipe.sharpen").joinpath(_SETTINGS).read_text(encoding="utf-8"))
    return tree
