"""A small network that predicts more than an interpolation, and kills of its predictions."""

from pathlib import Path

import numpy as np
import torch

from hsipipe.methods.base import Frame
from hsipipe.methods.catalogue import method_settings
from hsipipe.methods.group_residual import GroupResidual
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.params import load_params

_PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


class Killed(BaseException):
    """A kill."""


def small_network(*, bands=4):
    """Make a pca-residual at scale 2 with random weights."""
    torch.manual_seed(0)
    settings = method_settings(load_params(_PARAMS), "pca-residual")
    made = PcaResidual(Frame(bands, 2), settings.model_copy(update={"components": 3, "width": 8, "blocks": 1}))
    torch.nn.init.orthogonal_(made.basis)
    torch.nn.init.normal_(made.tail.weight, std=0.01)
    return made


def small_group_network(*, bands=5, scale=2, group=4):
    """Make a group-residual with random weights that adds some detail."""
    torch.manual_seed(0)
    settings = method_settings(load_params(_PARAMS), "group-residual")
    sizes = {"n_subs": group, "width": 8, "blocks": 1}
    made = GroupResidual(Frame(bands, scale), settings.model_copy(update=sizes))
    torch.nn.init.normal_(made.tail.weight, std=0.1)
    return made.eval().requires_grad_(False)


def kill_after(monkeypatch, tiles, *, brighter=0.0):
    """End predictions of pca-residual by a kill after some tiles; return a function that ends the killing.

    `brighter` is added to each prediction, also after the kill.
    """
    left, plain = [tiles], PcaResidual.parts

    def changed(self, *args, **more):
        low, missing = plain(self, *args, **more)
        return low + np.float32(brighter), missing

    def parts(self, *args, **more):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return changed(self, *args, **more)

    monkeypatch.setattr(PcaResidual, "parts", parts)
    return lambda: monkeypatch.setattr(PcaResidual, "parts", changed)
