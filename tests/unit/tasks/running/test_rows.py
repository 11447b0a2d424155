import pytest

from hsipipe.errors import ParamsError
from hsipipe.params import load_params
from tasks.running.dvc import changed_params
from tasks.running.rows import Row, all_rows, table_rows

NAMES = {
    "edsr": Row("edsr"),
    "edsr@seed-0": Row("edsr", seed=0),
    "dmgasr@steps-20": Row("dmgasr", steps=20),
    "dmgasr@seed-1@steps-20": Row("dmgasr", 1, 20),
}


@pytest.mark.parametrize(("name", "row"), NAMES.items())
def test_a_name_is_a_row_and_back(name, row):
    assert Row.parse(name) == row
    assert row.name == name


@pytest.mark.parametrize("text", ["edsr@1", "edsr@seed-", "edsr@seed-x", "edsr@seed--1", "edsr@step-4", "edsr@"])
def test_a_malformed_row_is_refused(text):
    with pytest.raises(ParamsError, match="expected METHOD, METHOD@seed-NUMBER or METHOD@steps-NUMBER"):
        Row.parse(text)


def test_other_steps_share_a_training_and_another_seed_has_its_own():
    assert [row.trained for row in NAMES.values()] == ["edsr", "edsr@seed-0", "dmgasr", "dmgasr@seed-1"]


def test_the_sampling_of_a_row_has_its_steps_and_its_seed(repository):
    sampling = load_params(repository / "params.yaml").sampling
    assert sampling.steps_of["hsrdiff"] == 10
    found = {
        name: Row.parse(name).sampling(sampling) for name in ("bicubic", "hsrdiff", "hsrdiff@steps-3", "edsr@seed-7")
    }
    assert {name: (each.steps, each.seed) for name, each in found.items()} == {
        "bicubic": (1, 0),
        "hsrdiff": (10, 0),
        "hsrdiff@steps-3": (3, 0),
        "edsr@seed-7": (1, 7),
    }


def test_a_row_of_the_table_is_the_mean_of_its_seeds(repository):
    wanted = ["compare=[bicubic,hsrdiff]", "seeds=[1,2]", "steps.methods=[hsrdiff]", "steps.values=[4,8]"]
    params, _ = changed_params(repository, wanted)
    groups = {name: [row.name for row in rows] for name, rows in table_rows(params).items()}
    assert groups == {
        "bicubic": ["bicubic", "bicubic@seed-1", "bicubic@seed-2"],
        "hsrdiff": ["hsrdiff", "hsrdiff@seed-1", "hsrdiff@seed-2"],
        "hsrdiff@steps-4": ["hsrdiff@steps-4"],
        "hsrdiff@steps-8": ["hsrdiff@steps-8"],
    }
    assert [row.name for row in all_rows(params)] == [name for names in groups.values() for name in names]
