"""The graph is said twice, in types for people and in paths for DVC; here the two are compared."""

import ast
from pathlib import Path

import pytest
import yaml

from hsipipe.params import Params
from tasks.catalogue import NAMES, STAGES, producer
from tasks.running.project import METRICS, curve_path, summary_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dvc():
    return yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def paths(entries):
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def outputs(stage):
    return paths(stage.get("outs", [])) | paths(stage.get("metrics", []))


def test_dvc_runs_the_stages_that_there_are(dvc):
    assert tuple(dvc["stages"]) == NAMES
    assert {name: stage["cmd"] for name, stage in dvc["stages"].items()} == {
        name: f"python -m tasks {name}" for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_typed_edges_are_the_paths_in_dvc_yaml(dvc, name):
    stage = STAGES[name]
    entry = dvc["stages"][name]
    assert stage.name == name
    typed = {kind.LOCATION for kind in stage.inputs.values()}
    every_output = set().union(*(outputs(other) for other in dvc["stages"].values()))
    data = paths(entry["deps"]) & every_output
    # What goes beside the artifacts: the numbers and the curves, which belong to the stage that made them.
    beside = {METRICS, *(curve_path(other) for other in NAMES)}
    assert data - beside == typed
    owners = {path: other for other, made in dvc["stages"].items() for path in outputs(made)}
    for path in data & beside:
        assert NAMES.index(owners[path]) < NAMES.index(name)
    expected = {stage.output.LOCATION, summary_path(name)}
    expected |= {curve_path(name)} if stage.trains else set()
    expected |= {METRICS} if name == "evaluate" else set()
    assert outputs(entry) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_reads_the_params_that_dvc_watches(dvc, name):
    assert set(STAGES[name].reads) == set(dvc["stages"][name].get("params", []))
    assert set(STAGES[name].reads) <= set(Params.model_fields)


def test_every_group_of_params_is_read_by_some_stage_or_by_the_retraining():
    retraining = {"inbox", "gate"}
    assert set().union(*(STAGES[name].reads for name in NAMES)) == set(Params.model_fields) - retraining


def test_every_input_has_a_producer_before_it():
    for name in NAMES:
        for kind in STAGES[name].inputs.values():
            assert NAMES.index(producer(kind)) < NAMES.index(name)


def test_every_stage_has_numbers_for_dvc_metrics(dvc):
    for name, stage in dvc["stages"].items():
        assert summary_path(name) in paths(stage["metrics"])


def test_plots_show_what_stages_make(dvc):
    every_output = set().union(*(outputs(stage) for stage in dvc["stages"].values()))
    for plot in dvc["plots"]:
        if isinstance(plot, str):
            assert any(plot.startswith(path) for path in every_output)
        else:
            ((_, spec),) = plot.items()
            assert set(spec["y"]) <= every_output


def test_the_flow_calls_every_stage_once_in_order():
    tree = ast.parse((ROOT / "flows" / "pipeline.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    called = [node.func.id for node in sorted(calls, key=lambda node: node.lineno) if node.func.id in NAMES]
    assert called == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_is_one_short_file(name):
    lines = (ROOT / "tasks" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
