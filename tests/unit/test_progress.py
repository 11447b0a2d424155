import io
from contextlib import redirect_stderr

import pytest

from hsipipe import progress as module
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


@pytest.fixture
def clock(monkeypatch):
    """Seconds of the module's clock, which the test sets."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_the_log_has_a_line_every_half_minute_and_one_for_what_is_notable(caplog, clock):
    caplog.set_level("INFO", logger="hsipipe.progress")
    with progress("edsr", 400) as advance:
        advance(100, "resumed")
        for clock[0] in range(1, 61):
            advance(2, "loss 0.01")
        clock[0] += 2
        advance(0, "val_mpsnr_db 30.8", notable=True)
        advance(0, "val_mpsnr_db 30.8", notable=True)
    assert caplog.messages == [
        "edsr: 160 of 400, 2 min 0 s left, loss 0.01",
        "edsr: 220 of 400, 1 min 30 s left, loss 0.01",
        "edsr: 220 of 400, 1 min 33 s left, val_mpsnr_db 30.8",
    ]


def test_lines_inside_of_others_are_not_logged_and_bytes_have_their_unit(caplog, clock):
    caplog.set_level("INFO", logger="hsipipe.progress")
    with progress("download", 1, unit="bytes") as advance, progress("inner", 2) as step:
        clock[0] = 40
        step(1)
        advance(done=1_500_000, total=3_000_000)
    assert caplog.messages == ["download: 1.5 of 3.0 MB"]
