import pytest

from hsipipe.errors import ParamsError
from hsipipe.params import load_params
from tasks.running.dvc import changed_params
from tasks.running.stages import EACH, NAMES, STAGES, address, as_target, items

ON_DEMAND = "tasks/dvc.yaml"


def test_every_stage_is_named_after_its_function():
    assert [STAGES[name].name for name in NAMES] == list(NAMES)
    assert {name: STAGES[name].each for name in NAMES if STAGES[name].each} == {
        name: item.lower() for name, item in EACH.items()
    }


def test_the_items_of_params_yaml(repository):
    params = load_params(repository / "params.yaml")
    compare = ["bicubic", "group-residual", "pca-residual", "dmgasr", "dmgasr-regression"]
    found = {name: items(params, name) for name in NAMES if items(params, name) != [""]}
    # A regression before its posterior.
    trained = ["bicubic", "group-residual", "pca-residual", "dmgasr-regression", "dmgasr"]
    assert found == {"train_gae": ["standard"], "latents": ["standard"], "train": trained, "evaluate": compare}


def test_without_latent_methods_no_autoencoder_is_needed(repository):
    params, _ = changed_params(repository, ["compare=[bicubic,pca-residual]"])
    assert items(params, "train_gae") == items(params, "latents") == []


def test_other_steps_are_evaluated_and_other_seeds_are_trained_as_well(repository):
    wanted = ["compare=[bicubic,dmgasr]", "seeds=[3]", "steps.methods=[dmgasr]", "steps.values=[4]"]
    params, _ = changed_params(repository, wanted)
    rows = ["bicubic", "bicubic@seed-3", "dmgasr", "dmgasr@seed-3"]
    assert items(params, "train") == [*rows[:2], "dmgasr-regression", *rows[2:]]
    assert items(params, "evaluate") == [*rows, "dmgasr@steps-4"]


@pytest.mark.parametrize(
    ("name", "item", "expected"),
    [
        ("download", "", "download"),
        ("train", "edsr", f"{ON_DEMAND}:train@edsr"),
        ("train_gae", "standard", f"{ON_DEMAND}:train_gae@standard"),
        ("latents", "standard", f"{ON_DEMAND}:latents@standard"),
        ("evaluate", "edsr", "evaluate@edsr"),
        ("train", "pca-residual@seed-1", "train_seed@pca-residual-1"),
        ("evaluate", "pca-residual@seed-1", "evaluate_seed@pca-residual-1"),
        ("evaluate", "dmgasr@steps-20", "evaluate_steps@dmgasr-20"),
    ],
)
def test_the_address_is_dvc_s(name, item, expected):
    assert address(name, item) == expected
    assert as_target(f"{name}@{item}" if item else name) == expected


@pytest.mark.parametrize("text", [f"{ON_DEMAND}:train@edsr", "models/edsr", "evaluate_steps@dmgasr-20"])
def test_a_target_in_dvc_s_terms_stays(text):
    assert as_target(text) == text


@pytest.mark.parametrize("name", list(EACH))
def test_a_target_without_its_item_is_refused_because_dvc_would_run_the_whole_catalogue(name):
    with pytest.raises(ParamsError, match=rf"expected {name}@"):
        as_target(name)


def test_an_override_without_its_own_s_is_no_target():
    with pytest.raises(ParamsError, match=r"every override has its own -S: -S sampling\.steps=5"):
        as_target("sampling.steps=5")
