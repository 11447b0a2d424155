"""Calls of a real DVC, with stages that do next to nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from hsipipe.errors import (
    AlreadyRunningError,
    MissingInputError,
    ParamsError,
    StageFailedError,
    StagePausedError,
    StageUnreachableError,
)
from tasks.running import dvc
from tasks.running.dvc import Outcome
from tasks.running.pipeline_run import pipeline_session

DVC_YAML = """
stages:
  make:
    cmd: python make.py
    params: [sampling]
    deps: [make.py]
    outs: [made.txt]
  fail:
    cmd: python fail.py
    deps: [fail.py]
    outs: [never.txt]
  hang:
    cmd: python hang.py
    deps: [hang.py]
    outs: [hung.txt]
"""
MAKE = """
import os, pathlib
print("making", os.environ["HSIPIPE_PIPELINE_RUN"])
pathlib.Path("made.txt").write_text(pathlib.Path("params.yaml").read_text())
"""
FAIL = """
import pathlib, sys
folder = pathlib.Path(".hsipipe")
folder.mkdir(exist_ok=True)
(folder / "last_error.txt").write_text("band 7 is dead\\n")
sys.exit(1)
"""
HANG = """
import os, time
print("hanging", os.getpid(), flush=True)
time.sleep(3600)
"""


@pytest.fixture
def root(tmp_path, repository):  # its own: DVC's files, no store
    (tmp_path / ".dvc").mkdir()
    config = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
    (tmp_path / ".dvc" / "config").write_text(config, encoding="utf-8")
    for name, text in {"dvc.yaml": DVC_YAML, "make.py": MAKE, "fail.py": FAIL, "hang.py": HANG}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copyfile(repository / "params.yaml", tmp_path / "params.yaml")
    return tmp_path


def test_a_stage_runs_once_and_is_then_up_to_date(root):
    lines = []
    assert dvc.repro(root, "make", on_line=lines.append) is Outcome.RAN
    assert any(line.startswith("making run-") for line in lines)
    assert dvc.repro(root, "make", on_line=lines.append) is Outcome.UP_TO_DATE
    assert set(dvc.out_hashes(root)) == {"made.txt"}


def test_what_ran_before_comes_back_from_the_cache(root):
    dvc.set_params(root, ["sampling.steps=8"])
    dvc.repro(root, "make", on_line=print)
    dvc.set_params(root, ["sampling.steps=9"])
    assert dvc.repro(root, "make", on_line=print) is Outcome.RAN
    dvc.set_params(root, ["sampling.steps=8"])
    assert dvc.repro(root, "make", on_line=print) is Outcome.RESTORED


def test_a_failing_stage_is_reported_in_its_own_words(root):
    with pytest.raises(StageFailedError, match=r"^Stage fail failed: band 7 is dead$"):
        dvc.repro(root, "fail", on_line=print)


@pytest.mark.parametrize(("kind", "error"), [("unreachable", StageUnreachableError), ("paused", StagePausedError)])
def test_a_stage_that_may_end_well_later_is_told_from_one_that_is_wrong(root, kind, error):
    text = FAIL.replace("band 7 is dead", "Cannot download a.zip").replace("\\n", f"\\n{kind}\\n")
    (root / "fail.py").write_text(text, encoding="utf-8")
    with pytest.raises(error, match=r"^Stage fail failed: Cannot download a\.zip$"):
        dvc.repro(root, "fail", on_line=print)


def test_a_stage_can_be_made_to_run_though_dvc_sees_no_change(root):
    dvc.repro(root, "make", on_line=print)
    assert dvc.repro(root, "make", on_line=print, force=True) is Outcome.RAN


GRAPH = """
stages:
  evaluate:
    foreach: [bicubic, sfim]
    do:
      cmd: cp make.py ${item}.txt
      deps: [make.py]
      outs: ["${item}.txt"]
"""


def test_what_is_stale_of_what_params_yaml_asks_for_is_named(root):
    dvc.set_params(root, ["compare=[bicubic,pca-residual]"])
    (root / "dvc.yaml").write_text(GRAPH, encoding="utf-8")
    assert dvc.stale(root, on_line=print) == ["evaluate@bicubic"]
    dvc.repro(root, "evaluate@bicubic", on_line=print)
    assert dvc.stale(root, on_line=print) == []
    (root / "dvc.yaml").write_text("stages: [", encoding="utf-8")
    with pytest.raises(StageFailedError, match="cannot determine which stages are up to date"):
        dvc.stale(root, on_line=print)


def test_a_remote_storage_is_one_that_dvc_has_as_its_default(root):
    assert not dvc.has_remote(root)
    text = "[core]\n    remote = store\n['remote \"store\"']\n    url = /nowhere\n"
    (root / ".dvc" / "config.local").write_text(text, encoding="utf-8")
    assert dvc.has_remote(root)


def test_a_session_inside_a_session_is_the_same_one(root):
    with pipeline_session(root) as outer, pipeline_session(root, timeout_s=1) as inner:
        assert inner is outer


def test_without_words_of_its_own_dvc_speaks_for_the_stage(root):
    (root / "fail.py").write_text("raise SystemExit(3)", encoding="utf-8")
    with pytest.raises(StageFailedError, match=r"python fail\.py, exited with 3"):
        dvc.repro(root, "fail", on_line=print)


def test_a_broken_dvc_yaml_is_reported(root):
    (root / "dvc.yaml").write_text("stages: [", encoding="utf-8")
    with pytest.raises(StageFailedError, match=r"dvc\.yaml"):
        dvc.repro(root, "make", on_line=print)


def test_one_pipeline_at_a_time(root):
    with pipeline_session(root):
        # Another thread has no part in this session, as another process has none.
        failures = []

        def second():
            try:
                dvc.repro(root, "make", on_line=print)
            except AlreadyRunningError as error:
                failures.append(str(error))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(failures) == 1
    assert failures[0].startswith("A pipeline in ")
    assert "already running" in failures[0]


def test_stages_of_one_session_belong_to_one_pipeline_run(root):
    lines = []
    with pipeline_session(root) as session:
        dvc.repro(root, "make", on_line=lines.append)
        dvc.set_params(root, ["sampling.steps=9"])
        dvc.repro(root, "make", on_line=lines.append)
    said = [line.split()[1] for line in lines if line.startswith("making")]
    assert said == [session.key, session.key]


def assert_hung_stage_is_gone(lines):
    pid = next(int(line.split()[1]) for line in lines if line.startswith("hanging"))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} still runs")


def test_the_time_limit_ends_the_stage_itself(root):
    lines = []
    with (
        pytest.raises(StageFailedError, match="time limit"),
        pipeline_session(root, timeout_s=8.0),
    ):
        dvc.repro(root, "hang", on_line=lines.append)
    assert_hung_stage_is_gone(lines)


def test_an_interrupt_ends_the_stage_itself(root):
    lines = []

    def interrupt(line):
        lines.append(line)
        if line.startswith("hanging"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dvc.repro(root, "hang", on_line=interrupt)
    assert_hung_stage_is_gone(lines)


def test_overrides_change_their_values_and_no_other_byte(root):
    before = (root / "params.yaml").read_text(encoding="utf-8")
    params = dvc.set_params(root, ["degradation.scale=8", "degradation.scale=2", "dataset.root=../elsewhere"])
    assert (params.degradation.scale, params.dataset.root) == (2, "../elsewhere")
    expected = before.replace("scale: 4", "scale: 2").replace("root: null ", "root: ../elsewhere ")
    assert (root / "params.yaml").read_text(encoding="utf-8") == expected


def git(root, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def committed(root):
    """The project in a git repository that DVC knows, with an uncommitted change."""
    text = (root / ".dvc/config").read_text(encoding="utf-8").replace("    no_scm = true\n", "")
    (root / ".dvc/config").write_text(text, encoding="utf-8")
    (root / ".gitignore").write_text(
        "/.hsipipe\n/made.txt\n/never.txt\n/hung.txt\n/.dvc/tmp\n/.dvc/cache\n", encoding="utf-8"
    )
    (root / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n", encoding="utf-8")
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "start"]):
        git(root, *command)
    (root / "hang.py").write_text(HANG + "# mine\n", encoding="utf-8")
    return root


def test_a_run_with_overrides_is_a_plain_repro_and_stages_nothing(committed):
    dvc.run(committed, ["make"], overrides=["sampling.steps=3", "sampling.seed=1", "sampling.steps=5"])
    assert "steps: 5\n" in (committed / "made.txt").read_text(encoding="utf-8")
    assert git(committed, "status", "--porcelain").splitlines() == [" M hang.py", " M params.yaml", "?? dvc.lock"]
    assert git(committed, "branch", "--show-current") != ""
    assert git(committed, "for-each-ref", "refs/exps") == git(committed, "stash", "list") == ""


def test_after_a_failed_run_params_are_as_before(committed):
    before = (committed / "params.yaml").read_bytes()
    with pytest.raises(StageFailedError, match="band 7 is dead"):
        dvc.run(committed, ["fail"], overrides=["sampling.steps=3"])
    assert (committed / "params.yaml").read_bytes() == before
    assert git(committed, "status", "--porcelain").splitlines() == [" M hang.py"]


def test_after_sigterm_params_are_as_before_and_the_stage_is_gone(committed, repository):
    before = (committed / "params.yaml").read_bytes()
    command = [sys.executable, "-m", "tasks", "repro", "-S", "sampling.steps=3", "hang"]
    env = {**os.environ, "PYTHONPATH": str(repository)}
    with subprocess.Popen(command, cwd=committed, env=env, stdout=subprocess.PIPE, text=True) as child:
        hanging = next(line for line in child.stdout if line.startswith("hanging"))
        assert (committed / "params.yaml").read_bytes() != before
        child.terminate()
        assert child.wait(60) == 128 + signal.SIGTERM
    assert_hung_stage_is_gone([hanging])
    assert (committed / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("degradation.scal=2", "unknown key 'degradation.scal', did you mean 'scale'"),
        ("degradation.scale=two", r"degradation.scale: .*, got 'two'"),
        ("patches.size=63", r"patches.size \(63\) must be a multiple"),
        ("nonsense", "expected group.key=value"),
        ("patches.size=[1", "expected group.key=value"),
        ("~patches.size", "expected group.key=value; a key cannot be removed"),
    ],
)
def test_a_wrong_override_changes_nothing(root, override, message):
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(ParamsError, match=message):
        dvc.set_params(root, [override])
    assert (root / "params.yaml").read_bytes() == before


def test_without_dvc_lock_there_are_no_hashes(tmp_path):
    assert dvc.out_hashes(tmp_path) == {}


def test_outside_of_git_the_error_says_what_to_do_and_doing_without_works(root, monkeypatch):
    monkeypatch.setattr(dvc, "_core", lambda _: {})
    if any((folder / ".git").exists() for folder in root.parents):
        pytest.skip("the tests lie in a git repository")
    with pytest.raises(MissingInputError, match=r"git init && .* or do without: dvc config --local core.no_scm true"):
        dvc.run(root, ["make"])
    monkeypatch.undo()
    dvc.run(root, ["make"])


def test_every_file_has_the_same_bytes_in_a_clone_of_any_system(repository, tmp_path):
    for how in ("false", "true"):
        clone = ["clone", "--quiet", "--depth", "1", "-c", f"core.autocrlf={how}", f"file://{repository}", how]
        if subprocess.run(["git", *clone], cwd=tmp_path, capture_output=True, check=False).returncode:
            pytest.skip("the tests do not lie in a git repository")
    tracked = git(tmp_path / "true", "ls-files", "-z").split("\0")[:-1]
    assert [n for n in tracked if (tmp_path / "true" / n).read_bytes() != (tmp_path / "false" / n).read_bytes()] == []


def test_dvc_gives_no_hints_on_git_and_push_and_no_warning_of_locks_of_a_killed_run(tmp_path, repository):
    root = tmp_path / "project"
    root.mkdir()
    for words in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(words, cwd=root, check=True, capture_output=True)
    (root / "dvc.yaml").write_text("stages: {one: {cmd: echo made > out, outs: [out]}}\n", encoding="utf-8")
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    locked = {"read": {}, "write": {str(root / "out"): {"pid": killed.pid, "cmd": "dvc repro"}}}
    (root / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(locked), encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(repository)}
    words = [sys.executable, "-m", "tasks.running.quiet_dvc", "repro"]
    done = subprocess.run(words, cwd=root, env=env, check=True, capture_output=True, text=True)
    assert "Running stage 'one'" in done.stdout
    assert "git add" not in done.stdout + done.stderr
    assert "dvc push" not in done.stdout + done.stderr
    assert "autostage" not in done.stdout + done.stderr
    assert "killed" not in done.stdout + done.stderr
    staged = subprocess.run(["git", "diff", "--cached", "--name-only"], cwd=root, capture_output=True, text=True)
    assert "dvc.lock" not in staged.stdout
