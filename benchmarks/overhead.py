"""Measure the cost of the orchestration: `dvc repro` and the flow in an up-to-date checkout.

    python -m tasks repro
    python benchmarks/overhead.py --json benchmarks/results/overhead.json

The Prefect server is started before, and its start is not counted.
"""

import os
import subprocess
import sys
from statistics import median

from record import arguments, environment, in_turn, row, show, write_record

from flows.prefect_support.environment import prepare
from flows.schedule import server
from hsipipe.checkout import find_root

TARGETS_S = {"dvc repro": 5.0, "python -m flows pipeline": 20.0}


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    root = find_root()
    prepare(root)

    def call(*arguments):
        done = subprocess.run([sys.executable, "-m", *arguments], cwd=root, capture_output=True, text=True)
        said = done.stdout + done.stderr
        if done.returncode or "Running stage" in said:
            raise SystemExit(f"The checkout is not up to date; run python -m tasks repro first.\n{said[-2000:]}")

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
    write_record(options.json, {"environment": environment("prefect", "dvc", "mlflow"), "rows": rows})


if __name__ == "__main__":
    main()
