"""Faults of what surrounds a command: its terminal, output, user, variables, and the place of the checkout."""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import termios
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from .harness import REPRO, STAGE

NOBODY = "65534"
PLACES = ("with blank", "umlaut-ä-文", "quote'\"`", "percent%20#hash", "dollar$HOME;&|", "[0]*!~", "at@x=1,2:3")


def terminal_closes(lab, *, command=REPRO):
    """The terminal of the command is closed: SIGHUP to its session."""
    checkout = lab.checkout(STAGE)
    master, slave = os.openpty()
    with checkout.begun(*command, stdin=slave, preexec_fn=partial(_take_terminal, slave)) as child:
        os.close(slave)
        os.close(master)
        code, said = child.end()
        assert code not in (0, -signal.SIGKILL), f"{code}: {said[-1500:]}"
        assert "Traceback" not in said, said[-3000:]
        checkout.check_tidy()
        assert not list((checkout.root / "models").glob(".*.tmp"))
    checkout.check_recovers()
    return f"exit {code}"


def _take_terminal(slave):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def output_closes(lab):
    """Nobody reads the output any more, as by `| head`."""
    checkout = lab.checkout(STAGE)
    reading, writing = os.pipe()
    with checkout.begun(*REPRO, stdout=writing, stderr=None) as child:
        os.close(writing)
        os.close(reading)
        code, _ = child.end()
    assert code not in (0, -signal.SIGKILL)
    checkout.check_tidy()
    checkout.check_recovers()
    return f"exit {code}"


def streams_closed(lab):
    """The command is started without standard input, output and error."""
    checkout = lab.checkout(STAGE)
    checkout.finish(*REPRO, preexec_fn=partial(os.closerange, 0, 3))
    checkout.check_results()
    checkout.check_recovers()
    return "the same results"


def another_user(lab):
    """A user who may read the checkout and not write to it."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("another user needs root and setpriv")
    with _elsewhere(lab.checkout(STAGE)) as checkout:
        # The right to read everything, since the Python of the tests may lie in a home.
        prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        prefix += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
        prefix += ["--bounding-set=-all,+dac_read_search"]
        line = checkout.complaint(checkout.run(*REPRO, prefix=prefix), "denied")
        checkout.check_recovers()
    return line


def of_another_user(lab):
    """The checkout belongs to another user, so git refuses to tell anything of it."""
    if os.geteuid() != 0:
        pytest.skip("another owner needs root")
    with _elsewhere(lab.checkout(STAGE)) as checkout:
        for path in (checkout.root, *checkout.root.rglob("*")):
            os.chown(path, int(NOBODY), int(NOBODY), follow_symlinks=False)
        checkout.check_recovers()
    return "the same results"


def variables(lab, **env):
    """Other variables of the environment; None: without it."""
    checkout = lab.checkout(STAGE)
    checkout.finish(env=env)
    checkout.check_results()
    checkout.check_recovers()
    return "the same results"


def narrow_umask(lab):
    checkout = lab.checkout(STAGE)
    checkout.finish(umask=0o077)
    checkout.check_results()
    checkout.check_recovers()
    return "the same results"


def odd_path(lab, name):
    checkout = lab.checkout(STAGE)
    place = checkout.root.parent / name
    place.mkdir()
    moved = replace(checkout, root=checkout.root.rename(place / "hsipipe"))
    moved.check_recovers()
    assert (moved.root / "mlflow.db").is_file()
    assert [path.name for path in place.iterdir() if path.suffix != ".log"] == ["hsipipe"]
    return "the same results"


def refused_path(lab, name):
    """A path that the stores cannot express."""
    checkout = lab.checkout(STAGE)
    place = checkout.root.parent / name
    place.mkdir()
    moved = replace(checkout, root=checkout.root.rename(place / "hsipipe"))
    line = moved.complaint(moved.run(*REPRO), "move the project to")
    replace(moved, root=moved.root.rename(checkout.root)).check_recovers()
    return line


def worktree(lab):
    """A worktree of git, whose .git is a file."""
    checkout = lab.checkout(STAGE)
    other = checkout.root.parent / "worktree"
    _git(checkout.root, "worktree", "add", "--quiet", "--detach", str(other))
    ignored = shutil.ignore_patterns(".git", "__pycache__")
    shutil.copytree(checkout.root, other, symlinks=True, ignore=ignored, dirs_exist_ok=True)
    replace(checkout, root=other).check_recovers()
    return "the same results"


def without_git(lab):
    """An unpacked archive."""
    checkout = lab.checkout(STAGE)
    (checkout.root / ".git").rename(checkout.root.parent / "git")
    line = checkout.complaint(checkout.run(*REPRO), "git init", "no_scm")
    checkout.finish("-m", "dvc", "config", "--local", "core.no_scm", "true")
    checkout.check_recovers()
    return line


def without_git_program(lab):
    checkout = lab.checkout(STAGE)
    folder = checkout.root.parent / "bin"
    folder.mkdir()
    for name in ("bash", "sh", "env", "cat", "uname"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    python = str(Path(lab.env["PATH"].split(os.pathsep)[0]))
    checkout.check_recovers(env={"PATH": os.pathsep.join([python, str(folder)])})
    return "the same results"


def _git(folder, *arguments):
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@contextmanager
def _elsewhere(checkout):
    """Move a checkout to where every user may go; the folders of pytest are closed."""
    with tempfile.TemporaryDirectory(prefix="hsipipe-") as name:
        os.chmod(name, 0o755)
        yield replace(checkout, root=Path(shutil.move(checkout.root, Path(name) / "hsipipe")))
