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


def known(key, names):
    """Whether a key is a field, or within a table of settings, which the methods check themselves."""
    return key in names or key.partition(".")[0] in ("gae", "methods") or key.startswith("sampling.steps_of.")


def test_every_key_is_a_field_and_every_field_a_key():
    tree = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    names = {name for name, _ in fields(Params)}
    keys = set(flatten(tree))
    assert [key for key in keys if not known(key, names)] == []
    assert {name for name in names if name not in keys and not any(key.startswith(f"{name}.") for key in keys)} == set()


def test_no_field_has_a_default_that_params_yaml_would_not_show():
    assert [name for name, field in fields(Params) if not field.is_required()] == []
