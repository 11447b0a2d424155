"""What the orchestration costs where nothing is to be done: `dvc repro` and the flow, in an up-to-date checkout.

    python -m tasks repro
    python benchmarks/overhead.py --json benchmarks/results/overhead.json

The Prefect server is started before, and its start is not counted, as in use.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from record import environment, in_turn, row, show, write_record

from flows.prefect_support.environment import prepare
from flows.schedule import server
from tasks.running.project import find_root

TARGETS_S = {"dvc repro": 5.0, "python -m flows pipeline": 20.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    root = find_root()
    prepare(root)

    def call(*arguments):
        done = subprocess.run([sys.executable, "-m", *arguments], cwd=root, capture_output=True, text=True)
        said = done.stdout + done.stderr
        if done.returncode or "Running stage" in said:
            raise SystemExit(f"This is about an up-to-date checkout; run python -m tasks repro first.\n{said[-2000:]}")

    with server(root) as api:
        os.environ["PREFECT_API_URL"] = api
        commands = {"dvc repro": ("dvc", "repro"), "python -m flows pipeline": ("flows", "pipeline")}
        seconds = in_turn(
            {name: (lambda command=command: call(*command)) for name, command in commands.items()},
            rounds=options.rounds,
        )
    rows = []
    for name, taken in seconds.items():
        target = TARGETS_S[name]
        rows.append(row(f"{name}, nothing to do", median(taken), "s", target=f"< {target:g}", met=max(taken) < target))
    show(rows)
    if options.json is not None:
        write_record(options.json, {"environment": environment("prefect", "dvc", "mlflow"), "rows": rows})


if __name__ == "__main__":
    main()
