"""The graph is said twice, in types for people and in paths for DVC; here the two are compared."""

import ast

import pytest
import yaml

from hsipipe.artifacts import Scores
from hsipipe.methods.catalogue import autoencoders, entries
from hsipipe.params import Params, load_params
from tasks.catalogue import EACH, NAMES, STAGES, address, as_target, items
from tasks.running.project import METRICS, curve_path, summary_path

SCORES = Scores.LOCATION.removesuffix("/{item}")
NOT_TYPED = {METRICS, SCORES}
"""Read by stages after the comparison, which made the first and was made of the second."""


@pytest.fixture(scope="module")
def params(project):
    return load_params(project / "params.yaml")


@pytest.fixture(scope="module")
def asked(params):
    """Every stage that params.yaml asks for, as (name, item)."""
    return [(name, item) for name in NAMES for item in items(params, name)]


@pytest.fixture(scope="module")
def before(graph):
    """Outputs of all stages that a stage comes after, by its address."""
    owner = {path: name for name, stage in graph.items() for path in stage.outs}

    def sources(path):
        inside = [name for out, name in owner.items() if out.startswith(f"{path}/")]
        return [owner[path]] if path in owner else inside

    def collect(name, seen):
        for path in graph[name].deps:
            for source in sources(path):
                if source not in seen:
                    seen.add(source)
                    collect(source, seen)
        return seen

    return lambda name: set().union(*(graph[source].outs for source in collect(name, set())))


def place(kind, item):
    return kind.LOCATION.format(item=item)


def test_dvc_has_a_stage_for_all_that_is_asked_for(graph, asked):
    assert {address(*stage) for stage in asked} <= set(graph)
    unasked = {f"tasks/dvc.yaml:train_gae@{name}" for name in autoencoders()}
    unasked |= {f"tasks/dvc.yaml:latents@{name}" for name in autoencoders()}
    assert set(graph) - {address(*stage) for stage in asked} <= unasked
    assert len({address(*stage) for stage in asked}) == len(asked)


def test_dvc_runs_the_command_of_each(graph, asked):
    for name, item in asked:
        assert graph[address(name, item)].cmd == f"python -m tasks {name} {item}".strip()


def test_a_person_may_name_a_stage_without_its_file(asked):
    for name, item in asked:
        assert as_target(f"{name}@{item}" if item else name) == address(name, item)


def test_inputs_are_dependencies_or_what_those_were_made_from(graph, asked, params, before):
    for name, item in asked:
        stage, entry = STAGES[name], graph[address(name, item)]
        behind = entry.deps | before(address(name, item))
        for given in stage.inputs.values():
            for one in stage._items(given, params, item):
                assert place(given.kind, one) in behind, (name, item)


def test_dependencies_on_data_are_inputs_of_the_stage_or_stand_for_some(graph, asked, params):
    made = set().union(*(stage.outs for stage in graph.values()))
    for name, item in asked:
        stage, entry = STAGES[name], graph[address(name, item)]
        typed = {place(given.kind, one) for given in stage.inputs.values() for one in stage._items(given, params, item)}
        # The first training and evaluation of a method stand for its code and settings in those of its other rows.
        method = item.partition("@")[0]
        stands = {f"models/{method}", f"{SCORES}/{method}"} if "@" in item else set()
        assert {path for path in entry.deps if path in made} - typed - NOT_TYPED - stands == set(), (name, item)


def test_outputs_are_those_of_the_stage(graph, asked):
    for name, item in asked:
        stage = STAGES[name]
        expected = {place(stage.output, item)}
        expected |= {curve_path(name, item)} if stage.trains else set()
        expected |= set() if name in EACH else {METRICS if name == "compare" else summary_path(name)}
        assert graph[address(name, item)].outs == expected, (name, item)


def test_a_stage_reads_the_params_that_dvc_watches(graph, asked):
    for name, item in asked:
        watched = graph[address(name, item)].params
        if "@" in item and name == "train":
            assert watched == {"hardware"}  # the method's own settings are in models/<method>
            continue
        assert {key.partition(".")[0] for key in watched} == set(STAGES[name].reads), (name, item)
        assert {key.partition(".")[0] for key in watched} <= set(Params.model_fields)


def test_a_training_watches_its_own_settings_and_those_that_it_inherits(graph):
    for name, entry in entries().items():
        watched = graph[f"tasks/dvc.yaml:train@{name}"].params
        assert watched == {"hardware", f"methods.{name}", f"methods.{entry.like}"}
    for name, like in autoencoders().items():
        assert graph[f"tasks/dvc.yaml:train_gae@{name}"].params == {"hardware", f"gae.{name}", f"gae.{like}"}


def test_every_group_of_params_is_read_by_some_stage_or_by_the_retraining():
    retraining = {"inbox", "gate"}
    assert set().union(*(STAGES[name].reads for name in NAMES)) == set(Params.model_fields) - retraining


def test_items_are_those_of_the_stages_that_run_once_for_each(params):
    for name in NAMES:
        assert (STAGES[name].each is None) == (name not in EACH) == (items(params, name) == [""])
        assert STAGES[name].name == name


def test_adding_a_method_makes_no_other_one_stale(graph):
    """No stage of one method depends on the list of all of them."""
    for name, stage in graph.items():
        if "@" in name:
            assert not stage.params & {"compare", "seeds", "steps", "methods", "gae"}
            assert not stage.deps & {SCORES, "hsipipe/methods/catalogue.yaml", "hsipipe/methods"}


def test_plots_show_what_stages_make(repository, graph):
    outputs = set().union(*(stage.outs for stage in graph.values()))
    for plot in yaml.safe_load((repository / "dvc.yaml").read_text(encoding="utf-8"))["plots"]:
        path = plot if isinstance(plot, str) else next(iter(plot))
        assert any(path.startswith(out) or out.startswith(f"{path}/") for out in outputs), path


def test_the_flow_runs_every_stage_in_order(repository):
    tree = ast.parse((repository / "flows" / "pipeline.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    runs = sorted((call for call in calls if call.func.id == "run_stage"), key=lambda call: call.lineno)
    assert [call.args[0].id for call in runs] == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_is_one_short_file(name, repository):
    lines = (repository / "tasks" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
