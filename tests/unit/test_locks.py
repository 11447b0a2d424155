import subprocess
import sys

import pytest

from hsipipe.errors import AlreadyRunningError
from hsipipe.locks import hold, wait_for

HOLDER = """
import sys
from pathlib import Path
from hsipipe.locks import hold
with hold(Path(sys.argv[1]), what="it"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A lock that another process holds."""
    path = tmp_path / "locks" / "x.lock"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    yield path, child
    child.communicate()


def test_a_held_lock_is_an_error_that_names_the_holder(held):
    path, child = held
    with (
        pytest.raises(AlreadyRunningError, match=rf"^The stage is already running \(process {child.pid}\)"),
        hold(path, what="The stage"),
    ):
        pass


def test_a_killed_holder_leaves_no_lock_behind(held):
    path, child = held
    child.kill()
    child.wait()
    with hold(path, what="The stage"):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "x.lock", what="it"):
        _ = 1 / 0
    with hold(tmp_path / "x.lock", what="it"), wait_for(tmp_path / "y.lock"):
        pass
