from pathlib import Path

import pytest
import yaml

from hsipipe.errors import UnknownNameError
from hsipipe.models.presets import load_preset, preset_names
from hsipipe.params import parse_params
from tasks.overrides import flatten

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
