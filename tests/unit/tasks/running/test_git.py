import subprocess

import pytest

from hsipipe.errors import HsipipeError
from tasks.running.git import changed, commit, git


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """One commit, and nobody has told git who commits."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    commit(tmp_path, ["a.txt"], "chore: first")
    return tmp_path


def test_the_given_files_alone_are_committed_and_staged_ones_stay_staged(repository):
    for name in ("a.txt", "b.txt", "c.txt"):
        (repository / name).write_text("changed", encoding="utf-8")
    git(repository, "add", "c.txt")
    commit(repository, ["a.txt", "b.txt", "missing.txt"], "chore: two of three")
    assert git(repository, "show", "--name-only", "--format=%an", "HEAD").split() == ["hsipipe", "a.txt", "b.txt"]
    assert git(repository, "status", "--porcelain") == "A  c.txt"
    before = git(repository, "rev-parse", "HEAD")
    commit(repository, ["a.txt"], "chore: nothing")
    assert git(repository, "rev-parse", "HEAD") == before


def test_what_a_run_changes_by_itself_is_no_change(repository):
    (repository / "dvc.lock").write_text("{}", encoding="utf-8")
    assert changed(repository) == ""
    (repository / "a.txt").write_text("other", encoding="utf-8")
    assert changed(repository).strip() == "M a.txt"


def test_a_repository_that_cannot_be_written_is_an_error_in_git_s_words(repository):
    (repository / ".git" / "index.lock").touch()
    (repository / "a.txt").write_text("other", encoding="utf-8")
    with pytest.raises(HsipipeError, match=r"git cannot commit a\.txt: .*index\.lock"):
        commit(repository, ["a.txt"], "chore: late")


def test_outside_of_a_repository_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    commit(tmp_path, ["a.txt"], "chore: nowhere")
    assert changed(tmp_path) is None


@pytest.mark.parametrize("key", ["user.name", "user.email"])
def test_what_git_was_told_of_the_author_is_kept_and_the_rest_is_added(repository, key):
    git(repository, "config", key, "somebody")
    git(repository, "config", "user.useConfigOnly", "true")  # as in a container: git makes nothing up
    (repository / "a.txt").write_text("other", encoding="utf-8")
    commit(repository, ["a.txt"], "chore: second")
    found = git(repository, "show", "--no-patch", "--format=%an/%ae", "HEAD").split("/")
    assert found == (["somebody", "hsipipe@localhost"] if key == "user.name" else ["hsipipe", "somebody"])
