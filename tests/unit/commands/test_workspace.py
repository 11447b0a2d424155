"""`hsipipe init` writes a workspace, or nothing."""

import errno
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hsipipe.commands.workspace as module
from flows.__main__ import app
from hsipipe.checkout import find_root
from hsipipe.commands.workspace import make_workspace
from hsipipe.errors import DataError, MissingInputError
from hsipipe.exits import guarded
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


def test_a_folder_inside_of_what_is_copied_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "hsipipe"
    (package / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(package)
    monkeypatch.setattr(module, "_sources", lambda: {"hsipipe": package})
    for name in ("hsipipe/work", "hsipipe/inner", "link/work"):
        with pytest.raises(DataError, match=r"work|inner lies in .*hsipipe, which is copied .*; name a place outside"):
            make_workspace(tmp_path / name)
    assert [path.name for path in package.rglob("*")] == ["inner"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dangling", r"dangling is a link to nothing; name a new or an empty folder"),
        ("/proc/work", r"/proc/work cannot be written: .*No such file or directory.*; name another place"),
        ("x" * 300, r"xxx cannot be written: .*File name too long.*; name another place"),
    ],
)
def test_a_place_that_cannot_be_written_is_an_error_in_one_line(tmp_path, monkeypatch, capsys, name, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangling").symlink_to("nowhere")
    assert guarded(lambda: make_workspace(Path(name))) == 1
    line, *others = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"error: .*{says}.*", line)
    assert not others
    assert [path.name for path in tmp_path.iterdir()] == ["dangling"]


@pytest.fixture(params=["work", "empty", "link"])
def place(request, tmp_path):
    """A new folder, an empty one, or a link to an empty one."""
    if request.param != "work":
        (tmp_path / "empty").mkdir()
        (tmp_path / "link").symlink_to("empty")
    return tmp_path / request.param


@pytest.fixture
def few_files(tmp_path_factory, monkeypatch):
    """Copy a few files instead of the whole project."""
    root = tmp_path_factory.mktemp("sources")
    for name in ("hsipipe/__init__.py", "tasks/train.py", ".dvc/config", "dvc.yaml"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    monkeypatch.setattr(module, "_sources", lambda: {path.name: path for path in sorted(root.iterdir())})


@pytest.mark.usefixtures("few_files")
def test_any_empty_place_becomes_a_workspace(tmp_path, place):
    folders = {path: path.lstat().st_ino for path in tmp_path.iterdir()}
    make_workspace(place)
    assert {path.name for path in place.iterdir()} == {".dvc", "dvc.yaml", "hsipipe", "tasks"}
    assert (place / "hsipipe" / "__init__.py").is_file()
    assert {path: path.lstat().st_ino for path in tmp_path.iterdir() if path.name != "work"} == folders


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("few_files")
@pytest.mark.parametrize("where", [(shutil, "copyfile"), (Path, "rename")])
def test_an_interrupted_copy_changes_nothing(tmp_path, place, monkeypatch, where):
    before = {path: path.lstat().st_ino for path in tmp_path.rglob("*")}
    with monkeypatch.context() as patch:
        patch.setattr(*where, full)
        with pytest.raises(DataError, match=r"The disk is full: .*No space left") as caught:
            make_workspace(place)
    assert "train.py" not in str(caught.value), "more than the first error"
    assert {path: path.lstat().st_ino for path in tmp_path.rglob("*")} == before


@pytest.mark.usefixtures("few_files")
def test_entries_that_were_moved_are_moved_back(tmp_path, monkeypatch):
    rename = Path.rename

    def interrupted(path, target):
        if path.name == "tasks":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_workspace(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("few_files")
def test_nothing_half_written_is_seen(tmp_path, monkeypatch):
    seen, copy = set(), shutil.copyfile

    def copyfile(*arguments, **options):
        seen.update(path.name[:9] for path in tmp_path.iterdir())
        return copy(*arguments, **options)

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    make_workspace(tmp_path / "work")
    assert seen == {".hsipipe-"}


@pytest.mark.usefixtures("few_files")
@pytest.mark.parametrize("name", ["a b", "./-x", "plain"])
def test_the_printed_commands_work_for_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["init", name])
    assert result.exit_code == 0, result.output
    command = next(line for line in result.output.splitlines() if line.startswith("  cd "))
    done = subprocess.run(["bash", "-c", f"{command} && pwd"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / name}\n"


def test_an_installation_without_the_files_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "hsipipe")
    with pytest.raises(MissingInputError, match="lacks the files of a workspace; install hsipipe again"):
        make_workspace(tmp_path / "work")
