import logging
import sys

import pytest

from flows.prefect_support.environment import prepare, require_server, without_server_lines, without_traceback
from hsipipe.errors import HsipipeError, StageFailedError


def test_defaults_are_set_and_what_the_user_set_stays(tmp_path, monkeypatch):
    defaults = (
        "PREFECT_HOME",
        "DO_NOT_TRACK",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS",
    )
    for name in defaults:
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    import os

    prepare(tmp_path)
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".hsipipe" / "prefect")
    assert (tmp_path / ".hsipipe" / "prefect").is_dir()
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] == "120"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "true"


def record(error):
    try:
        raise error
    except type(error):
        return logging.LogRecord("x", logging.ERROR, "", 0, "failed", None, sys.exc_info())


def test_only_errors_that_a_person_can_mend_lose_their_traceback():
    mendable, bug = record(StageFailedError("band 7 is dead")), record(ZeroDivisionError())
    assert without_traceback(mendable)
    assert without_traceback(bug)
    assert mendable.exc_info is None
    assert bug.exc_info is not None


def test_lines_on_the_temporary_server_are_dropped():
    def is_kept(text):
        return without_server_lines(logging.LogRecord("prefect", logging.INFO, "", 0, text, None, None))

    assert not is_kept("Starting temporary server on http://127.0.0.1:8000\nSee https://docs.prefect.io")
    assert not is_kept("Stopping temporary server on http://127.0.0.1:8000")
    assert is_kept("Timed out")


def test_a_server_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(HsipipeError, match=r"http://127.0.0.1:9/api does not answer .* unset PREFECT_API_URL"):
        require_server()


def test_without_a_named_server_there_is_nothing_to_check(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    require_server()
