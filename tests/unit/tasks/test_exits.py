import pytest

from hsipipe.errors import AlreadyRunningError, DataError
from tasks.exits import guarded


def raiser(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("band 7\n  is dead"), 1, "error: band 7 is dead\n"),
        (AlreadyRunningError("busy"), 75, "error: busy\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_a_code(capsys, error, code, line):
    assert guarded(raiser(error)) == code
    assert capsys.readouterr().err == line


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        guarded(raiser(ZeroDivisionError()))


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("HSIPIPE_DEBUG", "1")
    with pytest.raises(DataError):
        guarded(raiser(DataError("band 7 is dead")))


def test_success_is_zero():
    assert guarded(lambda: None) == 0
