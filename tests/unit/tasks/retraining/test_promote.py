"""Whether a run is whole and clean enough to promote what it made, and whether a verdict still holds."""

import subprocess
import sys

import pytest

from hsipipe.errors import HsipipeError
from tasks.retraining import promote
from tasks.retraining.promote import promote_challenger, unfit
from tasks.retraining.verdict import Verdict
from tasks.running.git import head
from tasks.tracking import Standing

DVC_YAML = "stages:\n  download:\n    cmd: python make.py\n    deps: [make.py]\n    outs: [made.txt]\n"


def commit_all(root):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "--message", "all"], cwd=root, check=True)


@pytest.fixture
def checkout(root):
    """A committed project with one stage, up to date."""
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n", encoding="utf-8")
    (root / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (root / "make.py").write_text("open('made.txt', 'w').write('made')", encoding="utf-8")
    (root / ".gitignore").write_text("/made.txt\n/mlflow.db\n/.hsipipe/\n/.dvc/cache\n/.dvc/tmp\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=root, check=True)
    commit_all(root)
    return root


def test_a_whole_run_of_committed_code_is_fit(checkout):
    assert unfit(checkout, on_line=print) == []


def test_a_partial_run_is_not(checkout):
    (checkout / "make.py").write_text("open('made.txt', 'w').write('more')", encoding="utf-8")
    commit_all(checkout)
    assert unfit(checkout, on_line=print) == ["The run is incomplete, these stages are stale: download; run: dvc repro"]


@pytest.mark.parametrize("name", ["make.py", "new_module.py"])
def test_a_dirty_one_is_not(checkout, name):
    with (checkout / name).open("a", encoding="utf-8") as file:
        file.write("# a thought")
    said = unfit(checkout, on_line=print)
    assert any(f"uncommitted changes ({name})" in reason for reason in said)


def test_outside_of_git_nothing_is_fit(root, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
    assert "git cannot determine" in unfit(root, on_line=print)[0]


def test_a_verdict_of_another_state_is_void(checkout, monkeypatch):
    def stand(sha256="1", champion=None):
        now = Standing(champion, 1, {1: {"sha256": sha256}}, [])
        monkeypatch.setattr(promote, "standing", lambda *_: now)

    verdict = Verdict("name", 1, None, "1", head(checkout), promote=True)
    for change in ({"sha256": "2"}, {"champion": 7}):
        stand(**change)
        with pytest.raises(HsipipeError, match="not what the gate has judged"):
            promote_challenger(checkout, verdict, on_line=print)
    stand()
    (checkout / "make.py").write_text("# other", encoding="utf-8")
    with pytest.raises(HsipipeError, match="The run has changed since the gate"):
        promote_challenger(checkout, verdict, on_line=print)
    commit_all(checkout)
    with pytest.raises(HsipipeError, match="not what the gate has judged"):
        promote_challenger(checkout, verdict, on_line=print)


def test_what_the_gate_refused_is_said_and_not_promoted(checkout):
    verdict = Verdict("name", 1, None, "1", None, promote=False, reasons=("SAM rises.",))
    said = promote_challenger(checkout, verdict, on_line=print)
    assert said == "Version 1 of name is not promoted: SAM rises."
