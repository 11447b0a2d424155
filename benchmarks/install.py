"""Measure both installs of hsipipe: disk of a fresh environment, and CPU seconds of commands.

    python benchmarks/install.py --json benchmarks/results/install.json

Each environment is made in a temporary folder from the wheel of this checkout and constraints.txt, which needs several
GB of disk and a package index, then removed.
"""

import os
import resource
import subprocess
import sys
import venv
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from record import ROOT, arguments, environment, row, show, write_record

EXTRAS = {"hsipipe": "", "hsipipe[pipeline]": "[pipeline]"}


def main():
    parser = arguments(__doc__, result="install")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = []
    with TemporaryDirectory(prefix="hsipipe-install-") as place:
        wheel = _wheel(Path(place))
        rows.append(row("wheel", wheel.stat().st_size / 1e6, "MB"))
        for name, extra in EXTRAS.items():
            rows += _measured(name, _installed(Path(place) / name, f"{wheel}{extra}"), options.rounds)
    show(rows)
    write_record(options.json, {"environment": environment("torch", "prefect", "dvc", "mlflow"), "rows": rows})


def _wheel(place):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, ROOT]
    subprocess.run(command, check=True)
    (wheel,) = place.glob("*.whl")
    return wheel


def _installed(folder, requirement):
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    # torch first, as in the Makefile: with it in place nothing pulls another build of it
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    for wanted in (torch, requirement):
        subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", wanted], check=True, env=_own_environment())
    return folder


def _own_environment():
    """Variables without another hsipipe, with compiled modules as pip makes them."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}


def _measured(name, folder, rounds):
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    size = {path: path.stat().st_blocks * 512 for path in packages.rglob("*") if path.is_file()}
    np.save(folder / "cube.npy", np.random.default_rng(0).random((31, 64, 64), dtype=np.float32))
    own = _own_environment()

    commands = {"--help": ["--help"], "info": ["info", "cube.npy"], "predict --help": ["predict", "--help"]}
    # The first round is not counted: caches fill in it.
    turns = [{text: _cpu_seconds(folder, words, own) for text, words in commands.items()} for _ in range(rounds + 1)]
    torch = sum(value for path, value in size.items() if path.relative_to(packages).parts[0] == "torch")
    distributions = len(list(packages.glob("*.dist-info")))
    return [
        row(f"{name}: environment", sum(size.values()) / 1e6, "MB"),
        row(f"{name}: of these torch", torch / 1e6, "MB"),
        row(f"{name}: packages", distributions, ""),
        *(row(f"{name}: hsipipe {text}", median(turn[text] for turn in turns[1:]), "s CPU") for text in commands),
    ]


def _cpu_seconds(folder, words, own):
    """CPU seconds of a command and its children; unlike wall time, other work on the machine hardly changes them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([folder / "bin" / "hsipipe", *words], cwd=folder, env=own, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
