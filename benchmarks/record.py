"""What all benchmarks share: two cores, rows with targets, rounds in turn, and where a figure was measured.

Import it before the libraries that count cores.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
CORES = 2
# Before this process adds to it.
LOAD = os.getloadavg()[0]
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])

Row = dict[str, float | str | bool | None]


def row(name: str, value: float, unit: str, *, target: str = "", met: bool | None = None) -> Row:
    return {"name": name, "value": float(f"{value:.5g}"), "unit": unit, "target": target, "met": met}


def show(rows: Sequence[Row]) -> None:
    for entry in rows:
        met = {True: "met", False: "MISSED", None: ""}[entry["met"]]
        print(f"| {entry['name']:52} | {entry['value']:10.5g} {entry['unit']:9} | {entry['target']:8} | {met:6} |")


def in_turn(functions: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of each function in each round; one after another in a round, so that all have the same neighbours.

    A round before the first is not counted: torch and the allocator settle in it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """Median over rounds of how many times longer `slow` took than `fast` in the same round."""
    return median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def environment(*packages: str) -> dict[str, object]:
    """Machine, versions and commit of a measurement; packages that are not installed are left out.

    Says so where others use the cores: threads then wait for each other, which slows many small calls most.
    """
    if LOAD > 1:
        print(f"Others use this machine (load {LOAD:.1f}): figures on more than one thread are not to be trusted.")

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


def read_record(path: Path) -> dict[str, object]:
    """What earlier runs left there; a part that is not measured again stays."""
    return json.loads(path.read_text()) if path.is_file() else {}


def write_record(path: Path, record: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
