"""OpenMP's threads spin long on free cores and short on shared ones."""

import psutil
import pytest

from tasks.running import threads


@pytest.mark.parametrize(
    ("shares", "expected"),
    [([3.0, 8.0], threads.PATIENT), ([100.0, 2.0], threads.SHORT), ([50.0, 50.0], threads.SHORT)],
)
def test_other_processes_shorten_the_spinning(monkeypatch, shares, expected):
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: shares)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    environment = {}
    threads.set_spinning(environment)
    assert environment == {"GOMP_SPINCOUNT": expected}


def test_cores_that_this_process_may_not_use_do_not_count(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: [100.0, 100.0, 0.0, 4.0])
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: {2, 3}, raising=False)
    assert threads.cores_in_use() == pytest.approx(0.04)


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_what_the_user_has_set_stays(name):
    environment = {name: "own"}
    threads.set_spinning(environment)
    assert environment == {name: "own"}
