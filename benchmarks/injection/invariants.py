"""What must hold after every fault: nobody left over, nothing half-written, no run left open, the same results."""

import csv
import json
import sqlite3
from pathlib import Path
from typing import Any

import yaml

from hsipipe.storage.manifest import MANIFEST, verify
from injection.laboratory import Checkout, check, wait_until

TIMING_KEYS = frozenset({"seconds_per_image", "train_seconds", "html_bytes"})
"""Measured times, which differ from run to run, and the size of the page that prints them; left out of comparisons."""
TIMED_PAGE = "reports/report"
"""The report prints times: its index.html and what its manifest says of that are left out; its figures are not."""
# How long the processes of a killed pipeline may take to end in good order: a stage closes its MLflow run.
ENDING_S = 30.0


def outs(root: Path) -> list[str]:
    tree = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    found = []
    for stage in tree["stages"].values():
        entries = (*stage.get("outs", []), *stage.get("metrics", []))
        found += [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return found


def nobody_left(checkout: Checkout) -> None:
    def gone() -> bool:
        return not checkout.processes()

    try:
        wait_until(gone, "the end of all processes", patience_s=ENDING_S)
    except Exception as error:
        left = [" ".join(process.cmdline()) for process in checkout.processes()]
        raise type(error)(f"processes are left over: {left}") from error


def nothing_half_written(root: Path) -> None:
    """Each output is whole under its name, or it is not there; dvc.lock and the MLflow store can be read."""
    for name in outs(root):
        path = root / name
        if path.is_dir():
            check((path / MANIFEST).is_file(), f"{name} is there without a manifest")
            verify(path)
        elif path.suffix == ".json" and path.exists():
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".csv" and path.exists():
            with path.open(encoding="utf-8") as stream:
                widths = {len(row) for row in csv.reader(stream)}
            check(len(widths) <= 1, f"{name} has rows of different lengths")
    lock = root / "dvc.lock"
    if lock.exists():
        check(isinstance(yaml.safe_load(lock.read_text(encoding="utf-8")), dict), "dvc.lock cannot be read")
    store = root / "mlflow.db"
    if store.exists():
        with sqlite3.connect(store, timeout=30) as connection:
            (said,) = connection.execute("PRAGMA integrity_check").fetchone()
        connection.close()
        check(said == "ok", f"mlflow.db is damaged: {said}")


def same_results(root: Path, reference: Path, *, only: frozenset[str] | None = None) -> int:
    """Compare every output that dvc.lock names with that of an undisturbed run; how many were equal.

    Args:
        root: The checkout after the fault.
        reference: The undisturbed one.
        only: Stages to compare; None: all, and there must be the same ones.
    """
    mine, theirs = _locked(root), _locked(reference)
    if only is None:
        check(set(mine) == set(theirs), f"other outputs than in the reference: {sorted(set(mine) ^ set(theirs))}")
    compared = 0
    for name, (stage, md5) in mine.items():
        if only is not None and stage not in only:
            continue
        compared += 1
        if theirs[name][1] != md5:
            check(_same_but_for_times(root / name, reference / name), f"{name} differs from that of an undisturbed run")
    return compared


def done_stages(root: Path) -> frozenset[str]:
    return frozenset(stage for stage, _ in _locked(root).values())


def no_open_run(root: Path) -> None:
    """No run of MLflow's is left RUNNING."""
    with sqlite3.connect(root / "mlflow.db", timeout=30) as connection:
        left = connection.execute("SELECT name FROM runs WHERE status = 'RUNNING'").fetchall()
    connection.close()
    check(not left, f"MLflow runs are left RUNNING: {left}")


def no_open_flow(api: str) -> None:
    """No flow run or task run of a Prefect server is left open."""
    import httpx

    query = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    for kind, key in (("flow_runs", "flow_runs"), ("task_runs", "task_runs")):
        found = httpx.post(f"{api}/{kind}/filter", json={key: query}, timeout=30).raise_for_status().json()
        check(not found, f"left open in Prefect: {[run['name'] for run in found]}")


def _locked(root: Path) -> dict[str, tuple[str, str]]:
    path = root / "dvc.lock"
    lock: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        out["path"]: (name, out["md5"])
        for name, stage in lock.get("stages", {}).items()
        for out in stage.get("outs", [])
    }


def _same_but_for_times(mine: Path, theirs: Path) -> bool:
    if mine.suffix == ".json":
        return bool(_timeless(json.loads(mine.read_text())) == _timeless(json.loads(theirs.read_text())))
    if mine.as_posix().endswith(TIMED_PAGE):
        manifests = [json.loads((folder / MANIFEST).read_text())["files"] for folder in (mine, theirs)]
        for files in manifests:
            files.pop("index.html")
        return bool(manifests[0] == manifests[1])
    return False


def _timeless(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _timeless(value) for key, value in tree.items() if key not in TIMING_KEYS}
    return [_timeless(entry) for entry in tree] if isinstance(tree, list) else tree
