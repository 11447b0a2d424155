import shlex

import yaml

from hsipipe.params.overrides import as_overrides, flatten, notes_on_repeated
from tasks.running.dvc import set_params

TREE = {"gae": {"n_subs": 16, "loss": {"l1": 1.0}}, "dataset": {"root": None}, "unet": {"m": [1, 2]}, "on": True}


def test_flatten_names_leaves_by_their_path():
    assert flatten(TREE) == {
        "gae.n_subs": 16,
        "gae.loss.l1": 1.0,
        "dataset.root": None,
        "unet.m": [1, 2],
        "on": True,
    }


def test_overrides_survive_a_shell_that_splits_at_blanks():
    overrides = as_overrides(TREE)
    assert overrides == ["gae.n_subs=16", "gae.loss.l1=1.0", "dataset.root=null", "unet.m=[1,2]", "on=true"]
    assert shlex.split(" ".join(overrides)) == overrides


def test_params_survive_the_way_through_overrides(repository, tmp_path):
    text = (repository / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    params = set_params(tmp_path, [])
    assert set_params(tmp_path, as_overrides(params.model_dump(mode="json"))) == params
    assert yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8")) == yaml.safe_load(text)


def test_a_key_that_is_set_twice_is_noted_with_the_value_that_counts(repository, tmp_path):
    (tmp_path / "params.yaml").write_text((repository / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    given = ["sampling.steps=8", "sampling.seed=1", "sampling.steps=9"]
    assert notes_on_repeated(given) == ["note: sampling.steps is set 2 times; the last value counts, 9"]
    params = set_params(tmp_path, given)
    assert (params.sampling.steps, params.sampling.seed) == (9, 1)
    assert notes_on_repeated(["sampling.steps=8", "sampling.seed=1"]) == []
