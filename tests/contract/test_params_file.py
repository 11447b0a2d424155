"""params.yaml and hsipipe.params say the same keys."""

from pathlib import Path

import yaml
from pydantic import BaseModel

from hsipipe.methods.catalogue import autoencoders, entries, gae_settings, method_settings
from hsipipe.params import Params, load_params
from hsipipe.params.overrides import flatten

ROOT = Path(__file__).resolve().parents[2]


def fields(model, prefix=""):
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def test_every_key_is_a_field_and_every_field_a_key():
    tree = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    free = ("gae", "methods", "sampling.steps_of")
    keys = {key for key in flatten(tree) if not key.startswith(free)}
    assert keys == {name for name, _ in fields(Params) if not name.startswith(free)}


def test_every_method_and_autoencoder_has_its_settings_and_nothing_else():
    params = load_params(ROOT / "params.yaml")
    assert set(params.methods) == set(entries())
    assert set(params.gae) == set(autoencoders())
    for name in entries():
        method_settings(params, name)
    for name in autoencoders():
        gae_settings(params, name)
    assert not {"gae", "superresolver"} & set(entries())  # folders beside the methods' own in models/
    assert set(params.sampling.steps_of) <= set(entries())


def test_no_field_has_a_default_that_params_yaml_would_not_show():
    assert [name for name, field in fields(Params) if not field.is_required()] == []
