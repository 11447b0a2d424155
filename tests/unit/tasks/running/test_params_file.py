"""Values replaced in params.yaml, and undone after a run that did not succeed."""

import os
import signal
import subprocess
import sys

import pytest
import yaml

from hsipipe.errors import ParamsError
from tasks.running.params_file import BEFORE, replaced, restore, with_values
from tasks.running.pipeline_run import pipeline_session

TEXT = """\
# A comment above.
b:            # first, though b
  name:   'quoted'    # said twice
  flow: [1, 2,   5]   # with blanks
  none: null
  empty:
  rate: 0.00030

  list:       # a block
    - one     # of them
    - two
  # between
  inner: {z: 1, y: "2"}
a: 1  # last
"""


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        ({}, "", ""),
        ({"name": "other"}, "'quoted'", "other"),
        ({"name": "yes"}, "'quoted'", "'yes'"),
        ({"flow": [3]}, "[1, 2,   5]", "[3]"),
        ({"none": 4}, "none: null", "none: 4"),
        ({"empty": True}, "empty:", "empty: true"),
        ({"rate": 1e-5}, "0.00030", "1.0e-05"),
        ({"list": ["x", "y", "z"]}, "- one     # of them\n    - two", "- x\n    - y\n    - z"),
        ({"list": []}, "- one     # of them\n    - two", "[]"),
        ({"inner": {"z": 1, "y": "2", "x": None}}, '{z: 1, y: "2"}', "{z: 1, y: '2', x: null}"),
        ({"none": {"k": [1]}}, "none: null", "none: {k: [1]}"),
        ({"new": "key"}, "  name:", "  new: key\n  name:"),
    ],
)
def test_only_the_changed_value_is_written(change, old, new):
    tree = yaml.safe_load(TEXT)
    tree["b"] |= change
    text = with_values(TEXT, tree)
    assert text == TEXT.replace(old, new, 1)
    assert yaml.safe_load(text) == tree


def test_true_is_not_one():
    assert with_values("a: 1\n", {"a": True}) == "a: true\n"
    assert with_values("a: 1\n", {"a": 1.0}) == "a: 1.0\n"


def test_a_form_that_does_not_allow_it_is_refused():
    with pytest.raises(ParamsError, match="edit the file"):
        with_values("a: &x 1\nb: *x\n", {"a": 2, "b": 1})


@pytest.fixture
def root(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT, encoding="utf-8")
    return tmp_path


def now(root):
    return (root / "params.yaml").read_text(encoding="utf-8")


def left(root):
    return sorted(path.name for path in (root / ".hsipipe").glob("params*"))


def test_after_a_success_the_values_stay(root, caplog):
    with replaced(root, "a: 2\n"):
        assert now(root) == "a: 2\n"
        assert (root / ".hsipipe" / BEFORE).read_text(encoding="utf-8") == TEXT
    assert now(root) == "a: 2\n"
    restore(root)
    assert (now(root), left(root), caplog.messages) == ("a: 2\n", [], [])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_after_a_failure_the_text_is_as_before(root, caplog, error):
    with pytest.raises(error), replaced(root, "a: 2\n"):
        raise error
    assert (now(root), left(root)) == (TEXT, [])
    assert caplog.messages == ["Restore params.yaml: the run with overrides did not succeed."]


KILLED = """
import os, pathlib, signal, sys
from tasks.running.params_file import replaced
with replaced(pathlib.Path.cwd(), "a: 2\\n"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(root, repository):
    """A project whose run with overrides was killed."""
    env = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=root, env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    assert now(root) == "a: 2\n"
    return root


def test_after_a_kill_the_next_session_restores_the_text(killed, caplog):
    with pipeline_session(killed):
        assert now(killed) == TEXT
    assert left(killed) == []
    assert caplog.messages == ["Restore params.yaml: the run with overrides did not succeed."]


def test_an_edit_since_the_kill_stays_and_the_earlier_text_is_named_once(killed, caplog):
    (killed / "params.yaml").write_text("a: 3\n", encoding="utf-8")
    for _ in range(2):
        with pipeline_session(killed):
            assert now(killed) == "a: 3\n"
    assert (killed / ".hsipipe" / BEFORE).read_text(encoding="utf-8") == TEXT
    (message,) = caplog.messages
    assert f"the text from before that run is in .hsipipe/{BEFORE}" in message
