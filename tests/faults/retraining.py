"""Faults in the steps that only a retraining has: inbox, gate and promotion, each killed at random moments."""

import hashlib
import json
import random
import time

import numpy as np
import xarray as xr

from hsipipe import save_cube
from hsipipe.model_registry.load import load_registered
from tasks.running.dvc import out_hashes, set_params
from tasks.running.git import git
from tasks.tracking import standing

from .harness import PATIENCE_S, REPRO, kill_group, wait_until

NAME = "hsipipe-synthetic-x4"
RECEIVE = """
from pathlib import Path
from tasks.retraining.new_scenes import receive
receive(Path.cwd(), on_line=print)
"""
SETTINGS = (
    *("dataset.name=folder", "dataset.root=scenes", "inbox.path=inbox", "inbox.quiet_s=0"),
    *("split.by=scene", "split.test_scenes=[a,b]", "split.val_scenes=[c]"),
)


def inbox(lab, *, kills=4):
    """No scene is lost, and what is versioned is that of an undisturbed run."""
    rng = random.Random(0)
    reference, checkout = (_with_scenes(lab) for _ in range(2))
    seconds = _timed(reference, "-c", RECEIVE)
    delivered = _digests(checkout.root / "inbox")
    for _ in range(kills):
        _kill(checkout, rng.random() * seconds, "-c", RECEIVE)
        assert delivered <= _digests(checkout.root / "inbox") | _digests(checkout.root / "scenes"), "a scene is lost"
    checkout.finish("-c", RECEIVE)
    for each in (reference, checkout):  # as the next step of a retraining
        each.finish(*REPRO, "download")
    assert _digests(checkout.root / "inbox" / "quarantine") >= _digests(reference.root / "inbox" / "quarantine")
    for path in ("scenes.dvc", "data/raw/scenes.json"):
        assert (checkout.root / path).read_text() == (reference.root / path).read_text(), f"{path} differs"
    assert out_hashes(checkout.root)["data/raw"] == out_hashes(reference.root)["data/raw"]
    assert git(checkout.root, "status", "--porcelain", "--", "scenes.dvc") == ""
    return f"killed {kills} times within {seconds:.0f} s: the same scenes"


def gate_and_promotion(lab, *, kills=3):
    """The verdict is that of an undisturbed run, and the champion is moved as a whole or not at all."""
    rng = random.Random(1)
    checkout = lab.checkout()
    checkout.finish("-m", "dvc", "repro", "--force", "--single-item", "register")
    verdict = checkout.root / ".hsipipe" / "gate.json"
    seconds = _timed(checkout, "-m", "tasks", "gate")
    judged = _scores(verdict)
    verdict.unlink()
    for _ in range(kills):
        _kill(checkout, rng.random() * seconds, "-m", "tasks", "gate")
    checkout.finish("-m", "tasks", "gate")
    assert _scores(verdict) == judged
    checkout.finish("-m", "flows", "promote", "1", "--reason", "first")
    checkout.finish("-m", "dvc", "repro", "--force", "--single-item", "register")
    seconds = _timed(checkout, "-m", "flows", "models", NAME)
    for _ in range(kills):
        _kill(checkout, (0.5 + rng.random()) * seconds, "-m", "flows", "promote", "1", "--reason", "again")
        now = standing(checkout.root, NAME)
        assert (now.champion, now.moves[-1].version) == (1, 1)
    checkout.finish("-m", "flows", "promote", "1", "--reason", "again")
    assert standing(checkout.root, NAME).pending == []
    load_registered(checkout.root, f"models:/{NAME}@champion")
    checkout.check_tidy()
    return f"killed {kills} times each: the same verdict and champion"


def _with_scenes(lab):
    """A checkout with an inbox of three scenes and one broken file."""
    checkout = lab.checkout()
    set_params(checkout.root, SETTINGS)
    place = checkout.root / "inbox"
    place.mkdir()
    for seed, name in enumerate("abc"):
        values = np.random.default_rng(seed).random((8, 32, 32), np.float32)
        save_cube(xr.DataArray(values, dims=("band", "y", "x")), place / f"{name}.npy")
    (place / "broken.tif").write_bytes(b"II*\\0")
    return checkout


def _digests(folder):
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix in (".npy", ".tif"))
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _timed(checkout, *command):
    begun = time.monotonic()
    checkout.finish(*command)
    return time.monotonic() - begun


def _kill(checkout, seconds, *command):
    """Kill a command after some time; what it has started ends by itself."""
    child = checkout.start(*command)
    time.sleep(seconds)
    kill_group(child.process)
    wait_until(lambda: not checkout.processes(), "the end of all processes", patience_s=PATIENCE_S)


def _scores(path):
    tree = json.loads(path.read_text(encoding="utf-8"))
    return [check["text"] for check in tree["checks"] if "time" not in check["metric"]], tree["scenes"], tree["hash"]
