"""Faults put into running pipelines of small scenes, and what came of them.

    python benchmarks/faults.py                  # everything; adds to the kills that were counted before
    python benchmarks/faults.py --only kills --passes 2
    python benchmarks/faults.py --only others
    python benchmarks/faults.py --fresh          # forget what was counted before

kills: SIGKILL of the stage, of dvc, of the flow or command above them, at a random moment of every stage, one pass
through the pipeline after another, each with a seed of its own; after every kill and at the end of every pass the
checkout is compared with an undisturbed run.
others: full disks, read-only folders, servers and databases that fail, clocks that jump, damaged files, a loss that is
not finite; each is followed by the plain command, whose results are compared as well.
"""

import argparse
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from record import ROOT, Row, environment, read_record, show, write_record, row  # isort: skip; it picks the cores

from injection import disturbances, laboratory, recovery
from injection.invariants import no_open_flow
from injection.kills import BETWEEN, TARGETS, Pass

from tasks.catalogue import NAMES, STAGES

RESULTS = ROOT / "benchmarks" / "results" / "faults.json"
WANTED = 60
"""Kills that the long form must count."""
# What a model of the other kind leaves out is over before it could be killed.
SINGLE = tuple(name for name in NAMES if STAGES[name].fuses is not True)
# The stages before these are the same for both, and have had their kills.
PAIR = NAMES[NAMES.index("train_fusion") :]
# (model, stages killed in, command, what is killed)
PASSES = (
    ("dmgasr", SINGLE, laboratory.REPRO, "stage"),
    ("dmgasr", SINGLE, laboratory.PIPELINE, "command"),
    ("dmgasr", SINGLE, laboratory.REPRO, "dvc"),
    ("fusion-fast", PAIR, laboratory.PIPELINE, "command"),
    ("fusion-fast", PAIR, laboratory.REPRO, "stage"),
    ("dmgasr", SINGLE, laboratory.REPRO, "command"),
    ("fusion-fast", PAIR, laboratory.PIPELINE, "dvc"),
    ("dmgasr", SINGLE, laboratory.PIPELINE, "stage"),
)
PACKAGES = ("dvc", "prefect", "mlflow", "torch", "zarr")


class Laboratory:
    """The undisturbed runs, made when they are needed, and copies of them."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.env = laboratory.environment(scratch / "prefect")
        self.durations: dict[str, dict[str, float]] = {}
        self._count = 0

    def reference(self, model: str) -> Path:
        root = self.scratch / f"reference-{model}" / "hsipipe"
        measured = root.parent / "durations.json"
        if not measured.exists():
            print(f"undisturbed run of {model}", flush=True)
            laboratory.new_checkout(root, [*laboratory.TINY, f"model.name={model}"])
            durations = laboratory.run_reference(root, env=self.env)
            measured.write_text(json.dumps(durations, indent=1) + "\n")
        self.durations[model] = json.loads(measured.read_text())
        return root

    def store(self) -> Path:
        from tasks.tracking.store import connect

        path = self.scratch / "store" / "mlflow.db"
        if not path.exists():
            connect(path.parent)
        return path

    def checkout(self, model: str, undone: Sequence[str] | None) -> laboratory.Checkout:
        self._count += 1
        root = self.scratch / str(self._count) / "hsipipe"
        return laboratory.copy_of(self.reference(model), root, env=self.env, store=self.store(), undone=undone)


@contextmanager
def prefect_server(lab: Laboratory) -> Iterator[str]:
    from flows.prefect_support.environment import prepare
    from flows.schedule import server

    os.environ.update({name: lab.env[name] for name in ("PREFECT_HOME", "DO_NOT_TRACK")})
    prepare(lab.scratch)
    (lab.scratch / "server").mkdir(parents=True, exist_ok=True)
    with server(lab.scratch / "server") as api:
        yield api


def run_kills(lab: Laboratory, record: dict, *, passes: int) -> None:
    with prefect_server(lab) as api:
        for _ in range(passes):
            number = len(record["passes"])
            model, stages, command, target = PASSES[number % len(PASSES)]
            reference, begun = lab.reference(model), time.monotonic()
            env = {"PREFECT_API_URL": api} if command == laboratory.PIPELINE else {}
            the_pass = Pass(command, target, lab.durations[model], reference, env)
            kills, failure = [], None
            try:
                kills = the_pass.go(lab.checkout(model, None), stages, seed=number)
                if env:
                    no_open_flow(api)
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
            record["passes"].append(
                {
                    "model": model,
                    "command": " ".join(command).removeprefix("-m "),
                    "target": target,
                    "seed": number,
                    "seconds": round(time.monotonic() - begun, 1),
                    "end": failure or "the same results",
                    "kills": [kill.as_row() for kill in kills],
                }
            )
            write_record(RESULTS, record)
            good = sum(kill.failure is None for kill in kills)
            print(
                f"pass {number}: {model}, {target}: {good} of {len(kills)} kills, {failure or 'ended the same'}",
                flush=True,
            )
            for kill in kills:
                if kill.failure:
                    print(f"   {kill}", flush=True)


def run_others(lab: Laboratory, record: dict, *, names: Sequence[str]) -> None:
    for name, fault in disturbances.FAULTS.items():
        if names and name not in names:
            continue
        begun = time.monotonic()
        try:
            said = fault(lab)
        except recovery.Skipped as reason:
            said = f"left out: {reason}"
        except Exception as error:
            said = f"FAILED: {type(error).__name__}: {error}"
        record["others"][name] = {"outcome": said, "seconds": round(time.monotonic() - begun, 1)}
        write_record(RESULTS, record)
        print(f"{name}: {said}", flush=True)


def killed(kill: dict) -> str:
    """What was killed in fact: between two stages there is no stage, and at times no dvc."""
    if kill["hit"].endswith(", command"):
        return "command"
    return "dvc" if kill["target"] == "stage" and kill["hit"] == BETWEEN else str(kill["target"])


def table(record: dict) -> list[Row]:
    every = [
        kill | {"fine": kill["failure"] is None and one["end"] == "the same results"}
        for one in record["passes"]
        for kill in one["kills"]
    ]
    within = Counter(kill["hit"] for kill in every if not kill["hit"].startswith(BETWEEN))
    fine = sum(kill["fine"] for kill in every)
    rows = [row(f"kills of the {target}", sum(killed(kill) == target for kill in every), "") for target in TARGETS]
    rows += [
        row("kills within a stage", within.total(), ""),
        row("kills between two stages", len(every) - within.total(), ""),
        row("stages that were hit, of 14", len(within), "", target="14", met=len(within) == 14),
        row("kills in all", len(every), "", target=f">= {WANTED}", met=len(every) >= WANTED),
        row("kills in all without any harm", fine, "", target="all", met=fine == len(every)),
    ]
    for name, entry in record["others"].items():
        outcome = entry["outcome"]
        met = None if outcome.startswith("left out") else not outcome.startswith("FAILED")
        rows.append(row(name, entry["seconds"], "s", target="harmless", met=met))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("kills", "others"))
    parser.add_argument("--passes", type=int, default=len(PASSES), help="passes of kills to add")
    parser.add_argument("--fault", action="append", default=[], help="one of the others, by its name")
    parser.add_argument("--fresh", action="store_true", help="forget what was counted before")
    parser.add_argument("--scratch", type=Path, help="folder that stays, with the undisturbed runs")
    options = parser.parse_args()
    # A shell starts what runs in the background with SIGINT ignored, and so would everything below it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    record = {} if options.fresh else dict(read_record(RESULTS))
    record.setdefault("passes", [])
    record.setdefault("others", {})
    record["environment"] = environment(*PACKAGES)
    with tempfile.TemporaryDirectory() as temporary:
        lab = Laboratory(options.scratch or Path(temporary))
        if options.only != "others":
            run_kills(lab, record, passes=options.passes)
        if options.only != "kills":
            run_others(lab, record, names=options.fault)
    rows = table(record)
    write_record(RESULTS, {**record, "rows": rows})
    show(rows)


if __name__ == "__main__":
    main()
