import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tasks.running.process import end_group, start

PATIENCE_S = 30.0

# Each module of this little project says its pid, then waits for ever.
WAITER = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(3600)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITER
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "waiter"])
time.sleep(3600)
"""
STARTER = """
import sys
from pathlib import Path
from tasks.running.process import start
child = start("waiter", cwd=Path.cwd())
print(child.stdout.readline().strip(), flush=True)
child.wait()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in {"waiter": WAITER, "stubborn": STUBBORN, "parent": PARENT}.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def gone(pid):
    """Wait until the process has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(("module", "number"), [("waiter", signal.SIGTERM), ("stubborn", signal.SIGKILL)])
def test_end_group_ends_a_child(folder, module, number):
    child = start(module, cwd=folder)
    child.stdout.readline()
    end_group(child, grace_s=0.5)
    child.stdout.close()
    assert child.returncode == -number


def test_end_group_ends_what_the_child_started(folder):
    child = start("parent", cwd=folder)
    grandchild = int(child.stdout.readline())
    end_group(child)
    child.stdout.close()
    assert gone(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_child_ends_when_its_parent_is_killed(folder):
    parent = subprocess.Popen([sys.executable, "-c", STARTER], cwd=folder, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert gone(child)


def test_stages_find_this_interpreter_as_python(folder):
    (folder / "which.py").write_text("import shutil; print(shutil.which('python'))", encoding="utf-8")
    child = start("which", cwd=folder, env={"EXTRA": "1"})
    out, _ = child.communicate()
    assert os.path.dirname(out.strip()) == os.path.dirname(sys.executable)
