import json
import socket
import subprocess
import sys
from dataclasses import asdict, replace

import psutil
import pytest

from flows.prefect_support.zombie_runs import Note, close_dead_runs, reconcile_all
from hsipipe.credentials import public
from hsipipe.errors import HsipipeError
from tasks import tracking
from tasks.running.owner import Owner

RUN = "00000000-0000-4000-8000-000000000001"
NOWHERE = "http://127.0.0.1:9/api"


@pytest.fixture
def dead():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner.of(psutil.Process(child.pid))
    child.communicate()
    return owner


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a note into a project whose Prefect server does not answer."""
    monkeypatch.setenv("PREFECT_API_URL", NOWHERE)

    def write(owner, *, host=None, api=NOWHERE):
        note = Note(RUN, "quick-fox", host or socket.gethostname(), owner.pid, owner.created, api)
        path = tmp_path / ".hsipipe" / "flow_runs" / f"{RUN}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(note)), encoding="utf-8")
        return path

    return write


def test_a_living_run_and_one_of_another_machine_stay_as_they_are(tmp_path, write, dead):
    for path in (write(Owner.me()), write(dead, host="elsewhere")):
        assert close_dead_runs(tmp_path) == ([], [])
        assert path.exists()


def test_a_run_whose_server_does_not_answer_stays_for_later(tmp_path, write, dead):
    path = write(dead)
    closed, left = close_dead_runs(tmp_path)
    assert closed == []
    assert left == [f"quick-fox ({RUN}) stays open: the Prefect server at {NOWHERE} does not answer."]
    assert path.exists()


def test_a_file_that_is_no_note_is_named_and_left_out(tmp_path, write, dead, caplog):
    path = write(dead, host="elsewhere").with_name("broken.json")
    path.write_text("{", encoding="utf-8")
    assert close_dead_runs(tmp_path) == ([], [])
    assert f"Skip {path}, which is not a note of a flow run" in caplog.text


def test_reconcile_fails_when_something_stays_open_and_says_what(tmp_path, write, dead, monkeypatch):
    write(dead)
    monkeypatch.setattr(tracking, "close_dead_runs", lambda root, **_: tracking.Reconciled(["train_gae"], ["train"]))
    said = []
    with pytest.raises(HsipipeError, match=r"quick-fox .* stays open"):
        reconcile_all(tmp_path, say=said.append)
    assert said[0] == "MLflow: train_gae was left open by a killed process and is closed as KILLED."
    assert said[1].startswith("MLflow: train belongs to another container or machine")
    assert len(said) == 2


def test_a_run_of_another_container_stays_open_is_named_and_can_be_closed_by_hand(tmp_path, write, dead, monkeypatch):
    monkeypatch.setattr(tracking, "close_dead_runs", lambda root, **_: tracking.Reconciled([], []))
    path = write(replace(dead, created=dead.created.replace("/", "/9", 1)))
    said = []
    reconcile_all(tmp_path, say=said.append)
    assert path.exists()
    assert said[0].startswith("Prefect: quick-fox belongs to another container or machine")
    with pytest.raises(HsipipeError, match="does not answer"):  # it is asked to close it
        reconcile_all(tmp_path, elsewhere=True, say=said.append)


def test_user_and_password_are_taken_out_of_an_address():
    assert public("https://me:secret@host:4200/api") == "https://host:4200/api"
    assert public(NOWHERE) == NOWHERE
