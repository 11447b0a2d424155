"""The record of all pieces: kept in the work folder, which outlives them, and copied to where it is wanted."""

import importlib.metadata
import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from hsipipe.errors import ParamsError
from hsipipe.storage.publish import write_text

PACKAGES = ("torch", "lightning", "numpy", "zarr", "triton")


class Record:
    """What is known so far, as the JSON that is published.

    Args:
        work: The work folder.
        target: Where a copy goes after every change; None: the name in benchmarks/results tells what it is.
        root: The checkout.
        commit: Of the checkout, where there is no git.
        what: The options that all pieces of a work folder share.

    Raises:
        ParamsError: The work folder was begun with other options.
    """

    def __init__(
        self, work: Path, target: Path | None, *, root: Path, commit: str | None, what: dict[str, Any]
    ) -> None:
        self._own, self._target = work / "record.json", target or root / "benchmarks" / "results" / _name(what["tiny"])
        fresh = {
            "what": _title(what["tiny"]),
            "options": what,
            "done": False,
            "test_set": [],
            "models": {},
            "pieces": [],
        }
        self.tree: dict[str, Any] = json.loads(self._own.read_text()) if self._own.is_file() else fresh
        if self.tree["options"] != what:
            raise ParamsError(f"{work} was begun with {self.tree['options']}, got {what}; take another --work.")
        self.piece: dict[str, Any] = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "ended": "killed at its deadline",
            "seconds": None,
            "did": [],
            "saves": 0,
            **environment(root, commit),
            "tests": {},
        }
        self.tree["pieces"].append(self.piece)

    def model(self, name: str, **facts: Any) -> dict[str, Any]:
        """The entry of a model, with these facts in it."""
        entry = self.tree["models"].setdefault(name, {"trainings": {}, "tests": {}})
        entry.update(facts)
        return entry

    def training(self, model: str, kind: str) -> dict[str, Any]:
        """The entry of a training."""
        return self.model(model)["trainings"].setdefault(kind, {})

    def write(self) -> None:
        """Put it on disk, whole."""
        text = json.dumps(self.tree, indent=1) + "\n"
        write_text(self._own, text)
        write_text(self._target, text)


def environment(root: Path, commit: str | None) -> dict[str, Any]:
    """Device, versions and commit."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "device": device_name(),
        "machine": f"{platform.machine()}, {_cpu()}, {torch.get_num_threads()} threads",
        "versions": {"python": platform.python_version(), **versions, "cuda": torch.version.cuda},
        "commit": commit or (git("rev-parse", "HEAD") or "unknown") + changed,
    }


def device_name() -> str:
    """The GPU with its memory, or the word CPU with its name."""
    if not torch.cuda.is_available():
        return f"CPU ({_cpu()})"
    facts = torch.cuda.get_device_properties(0)
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"


def _name(tiny: bool) -> str:
    if torch.cuda.is_available():
        return "gpu_tiny.json" if tiny else "gpu.json"
    return "gpu_tiny_cpu.json" if tiny else "gpu_cpu.json"


def _title(tiny: bool) -> str:
    place = "one GPU" if torch.cuda.is_available() else "a CPU, not a GPU"
    size = "TINY networks and corners of scenes: a trial of the script; " if tiny else ""
    return f"{size}short trainings on CAVE scenes, measured on {place}"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
