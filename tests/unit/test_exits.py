import errno
import os
import signal
import subprocess
import sys

import pytest

from hsipipe.errors import AlreadyRunningError, DataError, FileFormatError, StagePausedError, TrainingPausedError
from hsipipe.exits import guarded


def raiser(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("band 7\n  is dead"), 1, "error: band 7 is dead\n"),
        (AlreadyRunningError("busy"), 75, "error: busy\n"),
        (TrainingPausedError("stopped after 30 minutes"), 85, "stopped after 30 minutes\n"),
        (StagePausedError("stopped after 30 minutes"), 85, "stopped after 30 minutes\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_a_code(capsys, error, code, line):
    assert guarded(raiser(error)) == code
    assert capsys.readouterr().err == line


def wrapped(error):
    """An error as a library raises it that was writing."""
    try:
        raise RuntimeError("cannot save") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "error: The disk is full: [Errno 28]"),
        (wrapped(OSError(errno.ENOSPC, "No space left on device")), "error: The disk is full: [Errno 28]"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "error: The disk is full: I/O error"),
        (RuntimeError("database or disk is full"), "error: The disk is full: database"),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "error: A file cannot be written: [Errno 30]"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "error: Access to a file is denied: [Errno 13]"),
        (MemoryError(), "error: The memory does not suffice: MemoryError"),
        (MemoryError("Unable to allocate 9.3 GiB for an array"), "error: The memory does not suffice: Unable to"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "error: The memory does not suffice"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "error: The memory does not suffice: CUDA"),
        (RuntimeError("can't start new thread"), "error: The memory does not suffice"),
        (OSError(errno.EIO, "Input/output error"), "error: The machine cannot read or write a file: [Errno 5]"),
    ],
)
def test_a_disk_that_cannot_be_written_is_one_line_too(capsys, error, begins):
    assert guarded(raiser(error)) == 1
    said = capsys.readouterr().err
    assert said.startswith(begins)
    assert said.count("\n") == 1


def test_a_file_that_could_not_be_read_for_lack_of_memory_is_not_called_damaged(capsys):
    error = FileFormatError("a.nc cannot be read, the file is damaged")
    error.__cause__ = MemoryError()
    assert guarded(raiser(error)) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: The memory does not suffice")
    assert "damaged" not in said


COMMAND = """
import sys
from hsipipe.exits import guarded
sys.exit(guarded(lambda: print(*range(int(sys.argv[1])), "caf\\xe9", "\\udcff")))
"""


def shell(text, **env):
    command = ["bash", "-c", text, "bash", sys.executable, "-c", COMMAND]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **env})


def test_output_that_nobody_reads_is_one_line():
    done = shell('"$@" 1000000 | head -c 5; exit ${PIPESTATUS[0]}')
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == "error: the output was closed before the command ended\n"


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_disturb_nothing(closed):
    done = shell(f'"$@" 3 {closed}')
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_does_not_take_the_place_of_a_closed_stream(tmp_path):
    code = (
        "import os, subprocess, sys\n"
        "from hsipipe.exits import guarded\n"
        "def body():\n"
        "    with open('store', 'w') as store:\n"
        "        subprocess.run(['echo', 'in the store'], check=True, pass_fds=[store.fileno()])\n"
        "sys.exit(guarded(body))\n"
    )
    command = ["bash", "-c", '"$@" >&-', "bash", sys.executable, "-c", code]
    assert (
        subprocess.run(command, cwd=tmp_path, check=False, env={**os.environ, "PYTHONPATH": os.getcwd()}).returncode
        == 0
    )
    assert (tmp_path / "store").read_text() == ""


def test_any_name_can_be_printed_in_any_locale():
    done = shell('"$@" 1', LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stdout) == (0, "0 caf\\xe9 \\udcff\n")


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_ends_the_command_as_sigterm_does_unless_told_not_to(ignored):
    begun = signal.SIG_IGN if ignored else signal.SIG_DFL
    code = (
        "import os, signal\n"
        f"signal.signal(signal.SIGHUP, signal.{begun.name})\n"
        "from hsipipe.exits import hang_up_as_terminate\n"
        "hang_up_as_terminate()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "signal.sigtimedwait([], 0)\n"
        "print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == ((0, "still here\n") if ignored else (-signal.SIGTERM, ""))


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        guarded(raiser(ZeroDivisionError()))


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("HSIPIPE_DEBUG", "1")
    with pytest.raises(DataError):
        guarded(raiser(DataError("band 7 is dead")))


def test_success_is_zero():
    assert guarded(lambda: None) == 0
