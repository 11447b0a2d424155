"""Sweeps against a real DVC in a real git repository, with stages that do next to nothing."""

import json
import shutil
import subprocess

import pytest

from hsipipe.errors import HsipipeError, ParamsError, StageFailedError
from tasks.running import dvc, saved_checkout, sweep
from tasks.running.pipeline_run import SWEEP_RUN, pipeline_session

DVC_YAML = """
stages:
  train_gae:
    cmd: python gae.py
    params: [gae]
    deps: [hsipipe/gae.txt]
    outs: [model.txt]
    metrics: [reports/stages/train_gae.json]
  evaluate:
    cmd: python evaluate.py
    params: [sampling]
    deps: [hsipipe/evaluate.txt, model.txt]
    metrics: [reports/metrics.json]
"""
GAE = """
import json, pathlib
pathlib.Path("reports/stages").mkdir(parents=True, exist_ok=True)
pathlib.Path("model.txt").write_text("weights")
pathlib.Path("reports/stages/train_gae.json").write_text(json.dumps({"groups": 5}))
"""
EVALUATE = """
import json, os, pathlib, sys, yaml
sampling = yaml.safe_load(open("params.yaml"))["sampling"]
steps = sampling["steps"]
if steps == 13:
    pathlib.Path(".hsipipe/last_error.txt").write_text("band 7 is dead")
    sys.exit(1)
row = {"mpsnr_db": 30.0 + steps + sampling["seed"], "nfe": steps, "seconds_per_image": 0.1}
models = {"bicubic": {"kind": "baseline", "mpsnr_db": 28.0}, "dmgasr": {"kind": "model", **row},
          "regression": {"kind": "control", "mpsnr_db": 31.0}}
protocol = {"name": "default", "hash": "ab", "fields": []}
tree = {"models": models, "scenes": {"a": {}}, "protocol": protocol}
pathlib.Path("reports/metrics.json").write_text(json.dumps(tree))
pathlib.Path("sweep-run.txt").write_text(os.environ["HSIPIPE_SWEEP_RUN"] + os.environ["HSIPIPE_PIPELINE_RUN"])
"""
SWEEP = """
title: Steps
figure: {kind: lines, x: nfe}
points:
  - {label: one, set: {sampling.steps: 1}}
  - {label: two, set: {sampling.steps: 2}}
"""


def git(root, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory, repository):
    root = tmp_path_factory.mktemp("made") / "project"
    files = {
        "dvc.yaml": DVC_YAML,
        "gae.py": GAE,
        "evaluate.py": EVALUATE,
        "hsipipe/gae.txt": "1",
        "hsipipe/evaluate.txt": "1",
        "steps.yaml": SWEEP,
        ".dvc/config": "[core]\n    analytics = false\n    check_update = false\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        ".gitignore": "/reports\n/model.txt\n/.hsipipe\n/sweep-run.txt\n",
        "notes.txt": "mine\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    shutil.copyfile(repository / "params.yaml", root / "params.yaml")
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "start"]):
        git(root, *command)
    return root


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    target = tmp_path / "project"
    shutil.copytree(made, target)
    monkeypatch.chdir(target)
    return target


def params_text(root):
    return (root / "params.yaml").read_text(encoding="utf-8")


def write_params(root, text):
    (root / "params.yaml").write_text(text, encoding="utf-8")


def run_all(plan):
    lines = []
    with pipeline_session(plan.root), sweep.kept_workspace(plan):
        for point in plan.points:
            sweep.run_point(plan, point, sweep_run_id="run-7", on_line=lines.append)
    return lines


def test_points_run_once_and_the_project_is_as_before(root):
    write_params(root, params_text(root) + "# mine\n")
    (root / "notes.txt").write_text("changed\n", encoding="utf-8")
    git(root, "add", "notes.txt")
    status, params = git(root, "status", "--porcelain"), params_text(root)
    plan = sweep.plan_sweep(root, "steps.yaml")
    assert any("Running stage 'evaluate'" in line for line in run_all(plan))
    assert params_text(root) == params
    assert git(root, "status", "--porcelain") == status
    assert not (root / "dvc.lock").exists()
    said = (root / "sweep-run.txt").read_text(encoding="utf-8")
    assert said.startswith("run-7run-")
    assert "-sweep-steps-two-" in said  # each point is a pipeline run of its own
    assert len(git(root, "for-each-ref", "refs/exps", "--format=%(refname)").splitlines()) >= 2

    again = sweep.plan_sweep(root, "steps.yaml")
    assert again == plan
    assert run_all(again) == ["one: finished earlier", "two: finished earlier"]
    first, second = sweep.results(again)
    assert (first.metrics["models"]["dmgasr"]["nfe"], second.metrics["models"]["dmgasr"]["nfe"]) == (1, 2)
    assert (first.groups, second.settings) == (5, {"sampling.steps": 2})


def test_what_one_point_sets_does_not_stay_for_the_next(root):
    mixed = (
        SWEEP.replace("one, set: {sampling.steps: 1}", "one, set: {}") + "  - {label: three, set: {sampling.seed: 5}}\n"
    )
    (root / "steps.yaml").write_text(mixed, encoding="utf-8")
    dvc.set_params(root, ["sampling.steps=1", "sampling.seed=0"])
    plan = sweep.plan_sweep(root, "steps.yaml")
    run_all(plan)
    rows = [result.metrics["models"]["dmgasr"] for result in sweep.results(plan)]
    assert [(row["nfe"], row["mpsnr_db"]) for row in rows] == [(1, 31.0), (2, 32.0), (1, 36.0)]


def test_parameters_that_change_under_a_sweep_stop_it(root):
    plan = sweep.plan_sweep(root, "steps.yaml")
    dvc.set_params(root, ["gae.seed=9"])
    with pytest.raises(ParamsError, match=r"params\.yaml was changed since the sweep began"):
        run_all(plan)
    assert sweep.results(plan) == []


def test_outputs_of_before_come_back(root):
    dvc.set_params(root, ["sampling.steps=5"])
    (root / ".hsipipe").mkdir(exist_ok=True)
    lines = []
    with pipeline_session(root), pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWEEP_RUN, "none")
        for stage in ("train_gae", "evaluate"):
            dvc.repro(root, stage, on_line=lines.append)
    lock, metrics = (root / "dvc.lock").read_bytes(), (root / "reports/metrics.json").read_bytes()
    run_all(sweep.plan_sweep(root, "steps.yaml"))
    assert (root / "dvc.lock").read_bytes() == lock
    assert (root / "reports/metrics.json").read_bytes() == metrics


def test_a_failing_point_is_told_in_the_stages_own_words(root):
    (root / "steps.yaml").write_text(SWEEP.replace("steps: 2", "steps: 13"), encoding="utf-8")
    plan = sweep.plan_sweep(root, "steps.yaml")
    params = params_text(root)
    with pytest.raises(StageFailedError, match=r"^band 7 is dead$"):
        run_all(plan)
    assert [result.label for result in sweep.results(plan)] == ["one"]
    assert params_text(root) == params
    assert git(root, "symbolic-ref", "HEAD").startswith("refs/heads/")


def test_the_key_follows_everything_that_decides_a_result(root):
    keys = {sweep.plan_sweep(root, "steps.yaml").points[0].key}
    keys.add(sweep.plan_sweep(root, "steps.yaml", ["gae.seed=7"]).points[0].key)
    (root / "hsipipe/evaluate.txt").write_text("2", encoding="utf-8")
    keys.add(sweep.plan_sweep(root, "steps.yaml").points[0].key)
    write_params(root, params_text(root).replace("protocol: default", "protocol: default # said again"))
    keys.add(sweep.plan_sweep(root, "steps.yaml").points[0].key)
    assert len(keys) == 3  # a comment decides nothing


def test_a_damaged_result_counts_as_none(root):
    plan = sweep.plan_sweep(root, "steps.yaml")
    path = root / ".hsipipe/sweeps/steps" / f"{plan.points[0].key}.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"metrics"', encoding="utf-8")
    assert sweep.finished(plan, plan.points[0]) is None


def test_what_the_points_set_cannot_be_overridden(root):
    sweep.refuse_swept("steps.yaml", ["sampling.seed=3"])
    with pytest.raises(ParamsError, match=r"sweep steps set sampling\.steps themselves"):
        sweep.refuse_swept("steps.yaml", ["sampling.steps=3"])


def test_a_point_that_does_not_fit_is_refused_before_anything_runs(root):
    (root / "steps.yaml").write_text(SWEEP.replace("sampling.steps: 2", "sampling.stepps: 2"), encoding="utf-8")
    with pytest.raises(ParamsError, match=r"unknown key 'sampling\.stepps'"):
        sweep.plan_sweep(root, "steps.yaml")


def test_points_of_different_protocols_are_refused_before_anything_runs(root):
    (root / "steps.yaml").write_text(SWEEP.replace("sampling.steps: 2", "degradation.scale: 2"), encoding="utf-8")
    with pytest.raises(ParamsError, match=r"set degradation\.scale, so their results would follow different protocols"):
        sweep.plan_sweep(root, "steps.yaml")


def test_table_and_figure_are_written(root):
    plan = sweep.plan_sweep(root, "steps.yaml")
    assert sweep.write_results(plan) == []
    assert sweep.shown(plan) is None
    run_all(plan)
    written = {path.name for path in sweep.write_results(plan)}
    assert written == {"table.md", "table.csv", "table.json", "figure.png"}
    assert len(json.loads((plan.out / "table.json").read_text(encoding="utf-8"))["points"]) == 2
    assert sweep.shown(plan).row_count > 2


def test_outside_of_git_it_is_said_what_is_missing(root):
    shutil.rmtree(root / ".git")
    with pytest.raises(HsipipeError, match="in no git repository with a commit"):
        saved_checkout.save(root)


def as_killed(root, *, params=None, committed=False):
    """What a `dvc exp run` leaves that is killed while a stage runs, or after DVC has committed the experiment."""
    text = dvc.changed_params(root, ["sampling.steps=9"])[1]
    saved_checkout.expect(root, text)
    git(root, "checkout", "--quiet", "--detach")
    write_params(root, params or text)
    (root / "dvc.lock").write_text("half", encoding="utf-8")
    git(root, "add", "--all")
    if committed:
        git(root, "commit", "--quiet", "--message", "experiment")


@pytest.mark.parametrize("committed", [False, True])
def test_the_next_pipeline_puts_right_what_a_kill_has_left(root, caplog, committed):
    (root / "notes.txt").write_text("changed\n", encoding="utf-8")
    before, status = params_text(root), git(root, "status", "--porcelain")
    saved_checkout.save(root)
    as_killed(root, committed=committed)
    with pipeline_session(root):
        pass
    assert params_text(root) == before
    assert git(root, "status", "--porcelain") == status
    assert git(root, "symbolic-ref", "HEAD").startswith("refs/heads/")
    assert not saved_checkout.is_saved(root)
    assert caplog.messages == []
    assert saved_checkout.restore(root) == []


def test_what_dvc_had_stashed_away_comes_back(root):
    (root / "notes.txt").write_text("changed\n", encoding="utf-8")
    write_params(root, params_text(root) + "# mine\n")
    before = params_text(root)
    saved_checkout.save(root)
    git(root, "stash")
    (sentence,) = saved_checkout.restore(root)
    assert "notes.txt" in sentence
    assert (root / "notes.txt").read_text(encoding="utf-8") == "changed\n"
    assert params_text(root) == before


def test_what_the_user_wrote_since_stays(root):
    before = params_text(root)
    (root / "notes.txt").write_text("changed\n", encoding="utf-8")
    saved_checkout.save(root)
    mine = before.replace("protocol: default", "protocol: sspsr")
    as_killed(root, params=mine)
    (root / "notes.txt").write_text("changed again\n", encoding="utf-8")
    (sentence,) = saved_checkout.restore(root)
    assert "was changed during the sweep and stays" in sentence
    assert params_text(root) == mine
    assert (root / ".hsipipe" / saved_checkout.BEFORE).read_text(encoding="utf-8") == before
    assert (root / "notes.txt").read_text(encoding="utf-8") == "changed again\n"


def test_the_time_limit_leaves_the_rest_for_later(root):
    plan = sweep.plan_sweep(root, "steps.yaml")
    with (
        pipeline_session(root, timeout_s=0.0) as session,
        sweep.kept_workspace(plan),
        pytest.raises(StageFailedError, match="time limit"),
    ):
        sweep.run_point(plan, plan.points[0], sweep_run_id="x", on_line=print)
    assert session.is_over()
    assert sweep.results(plan) == []
