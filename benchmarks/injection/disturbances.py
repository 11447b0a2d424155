"""Faults other than kills, by name.

Each is a function that puts one fault into a checkout, looks at what happens, gives the plain command again and
compares the results with those of an undisturbed run; it says in one line what happened.
"""

import random
import signal
from collections.abc import Callable
from functools import partial

from injection.damage import (
    clock,
    damaged_cache,
    damaged_download,
    damaged_resume_point,
    damaged_shard,
    loss_not_finite,
)
from injection.disks import full_disk, read_only, read_only_downloads
from injection.endings import signalled, two_at_once, two_dvc_at_once
from injection.laboratory import PIPELINE, REPRO
from injection.recovery import Laboratory
from injection.servers import database_locked, mlflow_dies, mlflow_down, prefect_dies, prefect_down


def _signals() -> dict[str, Callable[[Laboratory], str]]:
    rng = random.Random(0)
    found: dict[str, Callable[[Laboratory], str]] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        for target in ("stage", "dvc", "command", "flow"):
            command = PIPELINE if target == "flow" else REPRO
            found[f"{number.name} to the {target}"] = partial(
                signalled, number=number, target=target, command=command, moment=2 * rng.random()
            )
    return found


FAULTS: dict[str, Callable[[Laboratory], str]] = {
    **_signals(),
    "two tasks repro at once": two_at_once,
    "two dvc repro at once": two_dvc_at_once,
    "full disk: models": lambda lab: full_disk(lab, "models"),
    "full disk: data": lambda lab: full_disk(lab, "data", stage="patches"),
    "full disk: reports": lambda lab: full_disk(lab, "reports", spare_bytes=0),
    "full disk: DVC's cache": lambda lab: full_disk(lab, ".dvc/cache"),
    "full disk: work folder": lambda lab: full_disk(lab, ".hsipipe/work"),
    "read-only: DVC's cache": lambda lab: read_only(lab, ".dvc/cache"),
    "read-only: models": lambda lab: read_only(lab, "models"),
    "read-only: download cache": read_only_downloads,
    "MLflow server down": mlflow_down,
    "MLflow server dies in a stage": mlflow_dies,
    "MLflow's SQLite locked for 20 s": database_locked,
    "Prefect server down": prefect_down,
    "Prefect server dies in a flow": prefect_dies,
    "clock back by a year": lambda lab: clock(lab, shift_s=-365 * 86400.0),
    "clock forward by a year": lambda lab: clock(lab, shift_s=365 * 86400.0),
    "damaged resume point": damaged_resume_point,
    "damaged shard of patches": damaged_shard,
    "damaged download": damaged_download,
    "damaged entry of DVC's cache": damaged_cache,
    "loss not finite": loss_not_finite,
}
