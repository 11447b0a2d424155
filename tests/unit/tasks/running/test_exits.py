import errno

import pytest

from hsipipe.errors import AlreadyRunningError, DataError, StagePausedError, TrainingPausedError
from tasks.running.exits import guarded


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
    ],
)
def test_a_disk_that_cannot_be_written_is_one_line_too(capsys, error, begins):
    assert guarded(raiser(error)) == 1
    said = capsys.readouterr().err
    assert said.startswith(begins)
    assert said.count("\n") == 1


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        guarded(raiser(ZeroDivisionError()))


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("HSIPIPE_DEBUG", "1")
    with pytest.raises(DataError):
        guarded(raiser(DataError("band 7 is dead")))


def test_success_is_zero():
    assert guarded(lambda: None) == 0
