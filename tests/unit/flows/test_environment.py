import logging
import sys

from flows.environment import prepare, without_traceback
from hsipipe.errors import StageFailedError


def test_defaults_are_set_and_what_the_user_set_stays(tmp_path, monkeypatch):
    for name in ("PREFECT_HOME", "DO_NOT_TRACK", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    import os

    prepare(tmp_path)
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".hsipipe" / "prefect")
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
