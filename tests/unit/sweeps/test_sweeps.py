"""The definitions of the sweeps, and what is wrong with others."""

import pytest

from hsipipe.errors import MissingInputError, ParamsError, UnknownNameError
from hsipipe.methods.dmgasr.groups import plan_groups
from hsipipe.sweeps import load_sweep, parse_sweep, select, sweep_names
from tasks.running.dvc import changed_params
from tasks.running.overrides import as_overrides

TWO = """
title: two
figure: {kind: dots}
points:
  - {label: a, set: {sampling.steps: 1}}
  - {label: b, set: {sampling.steps: 2}}
"""


def points():
    for name in sweep_names():
        for point in load_sweep(name).points:
            yield pytest.param(point, id=f"{name}: {point.label}")


def test_the_promised_sweeps_are_there():
    assert sweep_names() == ["ablations", "groups", "seeds", "steps"]


@pytest.mark.parametrize("point", list(points()))
def test_every_point_fits_the_params(repository, point):
    params, _ = changed_params(repository, as_overrides(point.set))
    for key, value in point.set.items():
        found = params
        for part in key.split("."):
            found = getattr(found, part)
        assert found == value


def test_the_ablations_are_those_of_the_paper(repository):
    made = {}
    for point in load_sweep("ablations").points:
        gae = changed_params(repository, as_overrides(point.set))[0].gae
        made[point.label] = (gae.encoder, gae.global_decoder, plan_groups(31, n_subs=gae.n_subs, n_ovls=gae.n_ovls))
    assert {label: (encoder, decoder, plan.count) for label, (encoder, decoder, plan) in made.items()} == {
        "full": ("network", True, 5),
        "w/o GD": ("network", False, 5),
        "w/o GS": ("network", True, 1),
        "Diff-PB": ("identity", False, 11),
        "Diff-FB": ("identity", False, 1),
    }


GROUPS = ("gae", "diffusion", "control", "fusion_fast", "ddpmfus", "hsrdiff", "residual_fusion", "sampling")


def test_the_seeds_change_nothing_but_seeds_and_all_of_the_model():
    for number, point in enumerate(load_sweep("seeds").points):
        assert point.set == {f"{group}.seed": number for group in GROUPS}


@pytest.mark.parametrize(
    ("bands", "labels"),
    [
        (31, ["8/2", "12/4", "16/4", "24/6"]),
        (102, ["12/4", "16/4", "24/6", "32/8"]),
        (10, ["8/2"]),
        (None, ["8/2", "12/4", "16/4", "24/6", "32/8"]),
    ],
)
def test_groups_that_do_not_fit_are_left_out_with_a_word(bands, labels):
    sweep = load_sweep("groups")
    selection = select(sweep, bands)
    assert [point.label for point in selection.points] == labels
    assert len(selection.skipped) == len(sweep.points) - len(labels)
    assert all(str(bands) in sentence for sentence in selection.skipped)


def test_an_unknown_name_lists_the_sweeps():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'ablations'\? Known sweeps: ablations, groups"):
        load_sweep("ablation")


def test_a_file_of_the_users_own(tmp_path):
    (tmp_path / "mine.yaml").write_text(TWO, encoding="utf-8")
    sweep = load_sweep(str(tmp_path / "mine.yaml"))
    assert (sweep.name, [point.label for point in sweep.points]) == ("mine", ["a", "b"])
    with pytest.raises(MissingInputError, match=r"other\.yaml"):
        load_sweep(str(tmp_path / "other.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "expected title, figure and points, got list"),
        ("title: [", "is not YAML"),
        (TWO.replace("label: b", "label: a"), "two points have the same label"),
        (TWO.replace("title", "titel"), "titel: Extra inputs"),
        (TWO.replace("dots", "lines"), "lines need an x"),
        (TWO.replace("kind: dots", "kind: lines, x: gae.n_subs"), "do not set gae.n_subs: a, b"),
        (TWO + "name: ../elsewhere", "name: String should match"),
    ],
)
def test_a_definition_that_does_not_fit(text, message):
    with pytest.raises(ParamsError, match=message):
        parse_sweep(text, name="mine")
