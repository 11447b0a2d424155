"""Disks, databases and clocks that fail, signals, two at once: a clear end, and the same results afterwards.

`make faults` puts in all faults of benchmarks/injection; these are the ones that cost little.
"""

import pytest

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", ["SIGTERM to the stage", "two tasks repro at once", "clock back by a year"])
def test_the_pipeline_survives(endure, name):
    assert not endure(name).startswith("error: ")


def test_a_database_that_another_process_holds_is_waited_for(lab):
    from injection.servers import database_locked

    database_locked(lab, seconds=7)  # Python by itself gives up after five


@pytest.mark.parametrize("name", ["full disk: models", "read-only: models", "full disk: DVC's cache"])
def test_a_disk_that_cannot_be_written_is_named(endure, name):
    assert endure(name).startswith("error: The pipeline stopped: ")
