import subprocess
import sys

import pytest

from hsipipe.errors import AlreadyRunningError
from hsipipe.storage.manifest import MANIFEST, verify
from hsipipe.storage.publish import atomic_file, publish, write_text


def _names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def _fail_while_writing(publication, *parts):
    with publication as temporary:
        temporary.joinpath(*parts).write_text("new")
        raise RuntimeError("broken")


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_folder_appears_whole_with_a_manifest(tmp_path):
    target = tmp_path / "deep" / "out"
    with publish(target) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a.txt").write_text("a")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.name == ".out.tmp"
    assert (target / "sub" / "a.txt").read_text() == "a"
    assert (target / MANIFEST).is_file()
    verify(target)
    assert _names(target.parent) == ["out"]


def test_an_error_leaves_the_old_output_and_no_temporary(tmp_path):
    target = tmp_path / "out"
    with publish(target) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(RuntimeError, match="broken"):
        _fail_while_writing(publish(target), "a")
    assert (target / "a").read_text() == "old"
    verify(target)
    assert _names(tmp_path) == ["out"]


def test_a_second_publication_replaces_the_first(tmp_path):
    target = tmp_path / "out"
    for text in ("one", "two"):
        with publish(target) as temporary:
            (temporary / text).write_text(text)
    assert _names(target) == [MANIFEST, "two"]
    assert _names(tmp_path) == ["out"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").symlink_to(elsewhere)
    with publish(tmp_path / "out") as temporary:
        (temporary / "a").write_text("a")
    assert not (tmp_path / "out").is_symlink()
    assert _names(elsewhere) == []


def test_leftovers_go(tmp_path):
    stale, other = tmp_path / ".out.tmp", tmp_path / ".other.tmp"
    for folder in (stale, other):
        folder.mkdir()
        (folder / "half").write_text("half")
    (tmp_path / ".out.lock").touch()
    with publish(tmp_path / "out") as temporary:
        assert _names(temporary) == []
    assert _names(tmp_path) == sorted([other.name, "out"])


def test_an_output_that_stepped_aside_before_a_kill_comes_back(tmp_path):
    aside = tmp_path / ".out.old"
    aside.mkdir()
    (aside / "a").write_text("valid")
    with pytest.raises(RuntimeError, match="broken"):
        _fail_while_writing(publish(tmp_path / "out"), "a")
    assert (tmp_path / "out" / "a").read_text() == "valid"


def test_two_writers_of_one_path(tmp_path):
    with publish(tmp_path / "out") as temporary:
        with pytest.raises(AlreadyRunningError, match="is being written"), publish(tmp_path / "out"):
            pass
        (temporary / "a").write_text("first")
        with publish(tmp_path / "elsewhere"):
            pass
    assert (tmp_path / "out" / "a").read_text() == "first"
    assert _names(tmp_path) == ["elsewhere", "out"]


@pytest.fixture
def writer(tmp_path):
    """Another process that is busy with tmp_path/out."""
    code = (
        "import sys; from pathlib import Path; from hsipipe.storage.publish import publish\n"
        "with publish(Path(sys.argv[1])) as t:\n"
        "    (t / 'a').write_text('theirs'); print('busy', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "busy\n"
        yield process
        process.kill()


def test_another_process_is_refused_at_once_and_the_first_one_ends_well(tmp_path, writer):
    with pytest.raises(AlreadyRunningError, match=r"out is being written by another process.*\.out\.lock"):
        _fail_while_writing(publish(tmp_path / "out"), "a")
    assert (tmp_path / ".out.tmp" / "a").read_text() == "theirs"
    writer.communicate("go on\n")
    assert writer.returncode == 0
    verify(tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "theirs"
    assert _names(tmp_path) == ["out"]


def test_a_killed_process_leaves_no_lock(tmp_path, writer):
    writer.kill()
    writer.wait()
    assert ".out.tmp" in _names(tmp_path)
    with publish(tmp_path / "out") as temporary:
        (temporary / "a").write_text("ours")
    assert (tmp_path / "out" / "a").read_text() == "ours"
    assert _names(tmp_path) == ["out"]


def test_a_killed_writer_shows_nothing(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from hsipipe.storage.publish import publish\n"
        "with publish(Path(sys.argv[1])) as t:\n    (t / 'a').write_text('half'); os.kill(os.getpid(), 9)"
    )
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False)
    assert process.returncode == -9
    assert not (tmp_path / "out").exists()
    with publish(tmp_path / "out") as temporary:
        (temporary / "a").write_text("whole")
    assert _names(tmp_path) == ["out"]


def test_a_file_left_by_a_dead_process_goes(tmp_path, dead_pid):
    (tmp_path / f".x.json.{dead_pid}.tmp").write_text("half")
    write_text(tmp_path / "x.json", "whole")
    assert _names(tmp_path) == ["x.json"]


def test_write_text_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "sub" / "x.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="broken"):
        _fail_while_writing(atomic_file(path))
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert _names(path.parent) == ["x.json"]


@pytest.mark.parametrize("length", [239, 246, 255])
def test_a_name_as_long_as_a_file_system_allows_can_be_written_and_replaced(tmp_path, length):
    path, folder = tmp_path / ("ä" * 100 + "x" * (length - 200)), tmp_path / ("f" * length)
    for text in ("one", "two"):
        write_text(path, text)
        with publish(folder) as temporary:
            (temporary / "a").write_text(text)
    assert path.read_text(encoding="utf-8") == (folder / "a").read_text() == "two"
    assert _names(tmp_path) == sorted([path.name, folder.name])


def test_files_beside_a_file_appear_before_it_and_go_with_an_error(tmp_path, monkeypatch):
    target = tmp_path / "a.bil"
    for text in ("old", "new"):
        with atomic_file(target, beside=(".hdr",)) as temporary:
            temporary.write_text(text)
            temporary.with_name(temporary.name + ".hdr").write_text(text)
    assert (target.read_text(), (tmp_path / "a.bil.hdr").read_text()) == ("new", "new")
    with pytest.raises(FileNotFoundError), atomic_file(target, beside=(".hdr",)) as temporary:
        temporary.write_text("half")
    assert target.read_text() == "new"
    assert _names(tmp_path) == ["a.bil", "a.bil.hdr"]


def test_leftovers_beside_a_file_go(tmp_path, dead_pid):
    (tmp_path / f".a.{dead_pid}.tmp.raw").write_text("half")
    write_text(tmp_path / "a", "whole")
    assert _names(tmp_path) == ["a"]
