"""Shared by all benchmarks: command line, two cores, rows with targets, timed rounds, memory, machine and versions.

Import it before the libraries that count cores.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORES = 2
# Read before this process adds to it.
LOAD = os.getloadavg()[0]
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])

Row = dict[str, float | str | bool | None]


def arguments(doc: str, *, result: str | None = None) -> argparse.ArgumentParser:
    """A parser with the option ``--json``.

    Args:
        doc: The docstring of the script.
        result: Name of its record in benchmarks/results, the default of ``--json``; None: no default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = None if result is None else ROOT / "benchmarks" / "results" / f"{result}.json"
    parser.add_argument("--json", type=Path, default=default, help="write the figures to this file")
    return parser


def row(name: str, value: float, unit: str, *, target: str = "", met: bool | None = None) -> Row:
    return {"name": name, "value": float(f"{value:.5g}"), "unit": unit, "target": target, "met": met}


def show(rows: Sequence[Row]) -> None:
    for entry in rows:
        met = {True: "met", False: "MISSED", None: ""}[entry["met"]]
        print(f"| {entry['name']:52} | {entry['value']:10.5g} {entry['unit']:9} | {entry['target']:8} | {met:6} |")


def in_turn(functions: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of each function in each round; the functions alternate, so that all meet the same load.

    A first round is not counted: caches and allocators fill in it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def environment(*packages: str) -> dict[str, object]:
    """Machine, versions and commit of a measurement; packages that are not installed are skipped.

    Print a warning on a busy machine: threads then wait for each other, which slows many small calls most.
    """
    if LOAD > 1:
        print(f"Other processes use this machine (load {LOAD:.1f}): do not trust figures on more than one thread.")

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    cpu = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    found = {name: _version(name) for name in packages}
    return {
        "machine": f"{platform.machine()}, {cpu}, {CORES} cores of {os.cpu_count()}",
        "load_before": round(LOAD, 2),
        "versions": {"python": platform.python_version(), **{k: v for k, v in found.items() if v}},
        "commit": git("rev-parse", "HEAD") + (" with changes" if git("status", "--porcelain") else ""),
    }


def without_root(changes: Sequence[str]) -> list[str]:
    """Changes of params.yaml without the folder of the data, which changes no figure."""
    return [change for change in changes if not change.startswith("dataset.root=")]


def read_record(path: Path) -> dict[str, object]:
    """Read the record of earlier runs; parts that are not measured again are kept."""
    return json.loads(path.read_text()) if path.is_file() else {}


def write_record(path: Path | None, record: Mapping[str, object]) -> None:
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")


class Watch:
    """Sample the resident memory of a process (psutil) while a block runs: `peak`, in bytes beyond the start."""

    def __init__(self, process):
        self._process, self.peak = process, 0

    def __enter__(self):
        self._start, self._running = self._process.memory_info().rss, True
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._running = False
        self._thread.join()

    def _sample(self):
        while self._running:
            self.peak = max(self.peak, self._process.memory_info().rss - self._start)
            time.sleep(0.002)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
