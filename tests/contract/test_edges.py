"""The graph is said twice, in types for people and in paths for DVC; here the two are compared."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from graph import ROOT, described

from hsipipe.artifacts import LatentStore, PatchStore, RegisteredModel, TrainedMethod
from hsipipe.artifacts.registration import Registration
from hsipipe.methods.catalogue import autoencoders, entries
from hsipipe.params import Params
from tasks.running.project import METRICS, curve_path, summary_path
from tasks.running.stages import NAMES, STAGES

ITEM = re.compile(r"\$\{[^}]*\}")
VARIANTS = {"train": ("train_seed",), "evaluate": ("evaluate_seed", "evaluate_steps")}


@pytest.fixture(scope="module")
def dvc():
    return described()


def with_item(location):
    """A location with a placeholder for its item, as DVC's files write one."""
    return location.format(item="${}")


def paths(texts):
    return {ITEM.sub("${}", text) for text in texts}


def test_dvc_runs_the_stages_that_there_are(dvc):
    variants = {name for names in VARIANTS.values() for name in names}
    assert set(dvc) == set(NAMES) | variants
    for name in NAMES:
        assert dvc[name].cmd.startswith(f"python -m tasks {name}"), name
        assert (STAGES[name].each is not None) == ("${" in dvc[name].cmd)
    for name, others in VARIANTS.items():
        for other in others:
            assert dvc[other].cmd.startswith(f"python -m tasks {name} ${{item.method}}@")


@pytest.mark.parametrize("name", NAMES)
def test_typed_inputs_are_the_data_in_the_deps(dvc, name):
    stage, deps = STAGES[name], paths(dvc[name].deps)
    data = {dep for dep in deps if not dep.startswith(("hsipipe/", "tasks/", "${}"))}
    wanted = {with_item(given.kind.LOCATION) for given in stage.inputs.values() if not given.optional}
    if name == "train":  # the catalogue says what it reads
        assert {entry.reads for entry in entries().values()} <= {
            PatchStore.LOCATION,
            *(LatentStore.LOCATION.format(item=item) for item in autoencoders()),
            *(TrainedMethod.LOCATION.format(item=item) for item in entries()),
        }
        assert data == set()
        assert "${item.reads}" in dvc[name].deps
        return
    wanted = {"reports/scores" if path.startswith("reports/scores") else path for path in wanted}
    beside = {METRICS} if name in ("report", "register") else set()
    beside |= {"reports/scores"} if name in ("report", "register") else set()
    wanted -= {"reports/comparison"} if name == "register" else set()  # metrics.json is of the same stage
    if name == "report":  # so is the registry's entry
        wanted = wanted - {RegisteredModel.LOCATION} | {Registration.PATH}
    assert data == wanted | beside


@pytest.mark.parametrize("name", NAMES)
def test_typed_outputs_are_the_outs(dvc, name):
    stage = STAGES[name]
    expected = {with_item(stage.output.LOCATION)}
    expected |= {curve_path(name, "${}")} if stage.trains else set()
    expected |= {METRICS} if name == "compare" else set()
    expected |= {Registration.PATH} if name == "register" else set()
    expected |= {summary_path(name)} if stage.each is None and name != "compare" else set()
    assert paths(dvc[name].outs) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_reads_the_params_that_dvc_watches(dvc, name):
    watched = {param.partition(".")[0] for param in dvc[name].params}
    assert set(STAGES[name].reads) == watched
    assert watched <= set(Params.model_fields)
    for group in ("methods", "gae"):
        if group in watched:
            assert {param for param in dvc[name].params if param.startswith(group)} == {
                f"{group}.${{key}}",
                f"{group}.${{item.like}}",
            }


def test_every_group_of_params_is_read_by_some_stage_or_by_the_retraining():
    retraining = {"inbox", "gate"}
    assert set().union(*(STAGES[name].reads for name in NAMES)) == set(Params.model_fields) - retraining


def test_trainings_run_on_demand_alone(dvc):
    on_demand = {name for name, stage in dvc.items() if stage.file == "tasks/dvc.yaml"}
    assert on_demand == {"train_gae", "latents", "train"}


def test_the_main_file_is_short():
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) < 260


def test_plots_show_what_stages_make(dvc):
    made = set().union(*(paths(stage.outs) for stage in dvc.values()))
    for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]:
        place = plot if isinstance(plot, str) else next(iter(plot))
        assert any(place.startswith(path) or path.startswith(f"{place}/") for path in made), place


def test_the_flow_calls_every_stage_in_order():
    tree = ast.parse((ROOT / "flows" / "pipeline.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    runs = sorted((node for node in calls if node.func.id == "run_stage"), key=lambda node: node.lineno)
    assert [node.args[0].id for node in runs if isinstance(node.args[0], ast.Name)] == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_is_one_short_file(name):
    assert len((Path(ROOT) / "tasks" / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 60
