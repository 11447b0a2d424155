"""params.yaml and hsipipe.params say the same keys."""

from pathlib import Path

import yaml
from pydantic import BaseModel

from hsipipe.params import Params
from tasks.running.overrides import flatten

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
    assert set(flatten(tree)) == {name for name, _ in fields(Params)}


def test_no_field_has_a_default_that_params_yaml_would_not_show():
    assert [name for name, field in fields(Params) if not field.is_required()] == []
