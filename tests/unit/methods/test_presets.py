from pathlib import Path

import pytest
import torch
import yaml

from hsipipe.degradation.psf import Psf
from hsipipe.errors import UnknownNameError
from hsipipe.methods.fusion.setup import Pairing
from hsipipe.methods.presets import load_preset, preset_names
from hsipipe.params import parse_params
from hsipipe.training.fusion_recipes import RECIPES
from tasks.running.overrides import flatten

PARAMS = Path(__file__).parents[3] / "params.yaml"


def _merge(base, change):
    return {
        key: _merge(value, change[key]) if isinstance(value, dict) and key in change else change.get(key, value)
        for key, value in base.items()
    } | {key: value for key, value in change.items() if key not in base}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_fits_params_yaml(name):
    parse_params(_merge(yaml.safe_load(PARAMS.read_text()), load_preset(name)), source=name)


def test_the_papers_preset_is_there():
    assert load_preset("dmgasr-paper")["diffusion"]["unet"]["multipliers"] == [1, 2, 4, 8, 8]


@pytest.mark.parametrize(("name", "millions", "within"), [("hsrdiff", 31.56, 0.1), ("ddpmfus", 57, 0.02)])
def test_the_papers_fusion_networks_have_their_size(name, millions, within):
    """31.56 M are those of arXiv 2306.12085; of DDPM-Fus the preset's own note speaks."""
    params = parse_params(_merge(yaml.safe_load(PARAMS.read_text()), load_preset(f"{name}-paper")))
    pairing = Pairing(31, 3, 32, Psf("average"))
    with torch.device("meta"):
        model = RECIPES[name](params).build(pairing, "diffusion", None, patch=params.patches.size)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert abs(count / 1e6 / millions - 1) < within
    assert params.model.name == name


def _parts(tree, pattern):
    """What `tree` says of the keys of `pattern`."""
    return {key: _parts(tree[key], value) if isinstance(value, dict) else tree[key] for key, value in pattern.items()}


def test_the_fast_preset_is_the_default_of_params_yaml():
    fast = load_preset("dmgasr-fast")
    assert _parts(yaml.safe_load(PARAMS.read_text()), fast) == fast
    paper = load_preset("dmgasr-paper")
    assert set(flatten(paper)) <= set(flatten(fast))  # nothing of the paper's stays behind
    assert fast["diffusion"].keys() | {"seed"} == yaml.safe_load(PARAMS.read_text())["diffusion"].keys()


def test_unknown_preset_names_the_closest():
    with pytest.raises(UnknownNameError, match="Did you mean 'dmgasr-paper'"):
        load_preset("dmgasr-papr")
