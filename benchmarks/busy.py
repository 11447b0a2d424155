"""Measure the CPU time of a short training alone and beside busy processes.

    python benchmarks/busy.py

OpenMP threads that wait for each other spin by default: where other processes hold a core, they burn the rest of it. A
stage's process sets how long they spin (tasks/running/threads.py). The training is that of a method of params.yaml with
fewer steps, each time in a new process. The configurations alternate, so that all meet the same load.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from record import ROOT, arguments, environment, row, show, write_record

TARGET = 1.3
JUDGED = "as a stage"
KINDS = {
    JUDGED: {},
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000"},
    "threads sleep at once": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"GOMP_SPINCOUNT": "300000", "OMP_NUM_THREADS": "1"},
}


def train(root, name, steps):
    """Train a method here; print the CPU and wall seconds of its steps."""
    from tasks.running.threads import set_spinning

    set_spinning()
    from prepared import changed

    from hsipipe.artifacts import PatchStore
    from hsipipe.methods.catalogue import method_settings
    from hsipipe.params import load_params
    from hsipipe.training.train import train_method

    optimizer = {"steps": steps, "validate_every": steps, "save_every": steps, "warmup": 1}
    params = changed(load_params(ROOT / "params.yaml"), {"methods": {name: {"optimizer": optimizer}}})
    with tempfile.TemporaryDirectory() as folder:
        out, work = Path(folder) / "out", Path(folder) / "work"
        out.mkdir(), work.mkdir()
        settings, patches = method_settings(params, name), PatchStore.in_project(root)
        cpu, wall = time.process_time(), time.perf_counter()
        train_method(
            name,
            settings,
            patches,
            out,
            latents=None,
            hardware=params.hardware.model_copy(update={"accelerator": "cpu"}),
            work=work,
            log=lambda step, metrics: None,
        )
        print(time.process_time() - cpu, time.perf_counter() - wall)


def measure(root, kind, options):
    """CPU seconds and wall seconds of the training in a new process."""
    command = [sys.executable, __file__, "--train", root, "--method", options.method, "--steps", options.steps]
    variables = {**os.environ, **KINDS[kind]}
    done = subprocess.run(list(map(str, command)), env=variables, capture_output=True, text=True, check=True)
    cpu, wall = done.stdout.split()
    return float(cpu), float(wall)


def beside(root, busy, options):
    """Median CPU and wall seconds of each kind, beside `busy` processes that want a core each."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        rounds = [{kind: measure(root, kind, options) for kind in KINDS} for _ in range(options.rounds)]
    finally:
        for other in others:
            other.kill()
            other.wait()
    found = {}
    for kind in KINDS:
        cpu, wall = zip(*(one[kind] for one in rounds), strict=True)
        found[kind] = median(cpu), median(wall)
    return found


def table(found):
    """Rows: seconds alone, and CPU time beside others as a ratio to that alone."""
    rows = []
    for kind in KINDS:
        alone, wall = found[0][kind]
        rows += [row(f"{kind}: alone, CPU time", alone, "s"), row(f"{kind}: alone, wall time", wall, "s")]
        for busy in (1, 2):
            ratio, judged = found[busy][kind][0] / alone, kind == JUDGED
            target, met = (f"<= {TARGET}", ratio <= TARGET) if judged else ("", None)
            rows.append(row(f"{kind}: beside {busy} busy, CPU over alone", ratio, "x", target=target, met=met))
    return rows


def main():
    parser = arguments(__doc__, result="busy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--method", default="pca-residual")
    parser.add_argument("--train", type=Path, help="train on the patches in this folder, here and now")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if options.train:
        train(options.train, options.method, options.steps)
        return
    from prepared import prepare

    from hsipipe.params import load_params

    where = environment("torch")
    with tempfile.TemporaryDirectory() as folder:
        prepare(load_params(ROOT / "params.yaml"), Path(folder))
        found = {busy: beside(folder, busy, options) for busy in (0, 1, 2)}
    rows = table(found)
    show(rows)
    write_record(options.json, {"environment": where, "method": options.method, "steps": options.steps, "rows": rows})


if __name__ == "__main__":
    main()
