import io
from contextlib import redirect_stderr

import pytest

from hsipipe.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Stands for standard error where somebody watches; keeps what is written."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def test_a_bar_shows_what_is_done_and_the_note(terminal):
    with redirect_stderr(terminal), progress("degrade", 3) as advance:
        advance()
        advance(2, note="balloons")
    assert "degrade" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    assert "balloons" in terminal.getvalue()


def test_a_bar_inside_another_is_silent_and_the_outer_one_goes_on(terminal):
    with redirect_stderr(terminal), progress("outer", 2) as advance:
        with progress("inner", 5) as step:
            step(5, note="unseen")
        advance(2)
        before = len(terminal.getvalue())
        with progress("second", 1) as step:
            step()
        assert "second" not in terminal.getvalue()[before:]
    assert "outer" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
    assert "inner" not in terminal.getvalue()
    assert "unseen" not in terminal.getvalue()


def test_after_a_bar_the_next_one_shows_even_if_the_body_failed(terminal):
    with redirect_stderr(terminal), pytest.raises(RuntimeError), progress("first", 1):
        raise RuntimeError
    with redirect_stderr(terminal), progress("next", 1) as advance:
        advance()
    assert "next" in terminal.getvalue()


def test_bytes_are_shown_in_units_of_people_and_the_total_can_be_learnt_late(terminal):
    with redirect_stderr(terminal), progress("download", 1, unit="bytes") as advance:
        advance(done=1_500_000, total=3_000_000)
        advance(1_500_000)
    assert "3.0/3.0 MB" in terminal.getvalue()


def test_without_a_terminal_nothing_is_written(capsys):
    with progress("degrade", 2) as advance:
        advance(2, note="balloons")
    assert capsys.readouterr() == ("", "")
