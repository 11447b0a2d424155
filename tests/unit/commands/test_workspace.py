"""`hsipipe init` writes a workspace, or nothing."""

import shutil

import pytest
from typer.testing import CliRunner

import hsipipe.commands.workspace as module
from flows.__main__ import app
from hsipipe.checkout import find_root
from hsipipe.commands.workspace import make_workspace
from hsipipe.errors import DataError, MissingInputError
from tasks.running.check_names import check_names, check_settings
from tasks.running.dvc import changed_params


def test_a_checkout_makes_one_as_well(tmp_path):
    result = CliRunner().invoke(app, ["init", str(tmp_path / "work")])
    assert result.exit_code == 0, result.output
    root = find_root(tmp_path / "work" / "tasks")
    assert root == tmp_path / "work"
    params, _ = changed_params(root, [])
    check_names(params)
    check_settings(params)
    assert not list(root.rglob("__pycache__"))
    assert not list(root.rglob("dvc.lock"))
    assert "no_scm = true" in (root / ".dvc" / "config.local").read_text()
    assert "pip install" not in result.output


def test_in_a_repository_dvc_uses_git(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "work").mkdir()
    make_workspace(tmp_path / "work")
    assert not (tmp_path / "work" / ".dvc" / "config.local").exists()


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        (".", DataError, "is not empty; name a new or an empty folder"),
        ("mine.txt", DataError, "mine.txt is a file; name a new"),
        ("no/work", MissingInputError, "make it, or name another place"),
    ],
)
def test_nothing_is_written_where_something_is(tmp_path, name, error, says):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(error, match=says):
        make_workspace(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_copy_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        make_workspace(tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_an_installation_without_the_files_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "hsipipe")
    with pytest.raises(MissingInputError, match="lacks the files of a workspace; install hsipipe again"):
        make_workspace(tmp_path / "work")
