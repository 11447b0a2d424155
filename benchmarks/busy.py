"""Measure the CPU time of a short training alone and beside busy processes.

    python benchmarks/busy.py --json benchmarks/results/busy.json

OpenMP threads that wait for each other spin by default: where other processes hold a core, they burn the rest of it. A
stage's process asks them to sleep (OMP_WAIT_POLICY=passive). Each training runs in its own process, with both policies.
"""

import os
import resource
import subprocess
import sys
import time
from statistics import median

from record import CORES, arguments, environment, row, show, write_record

TARGET = 1.3
POLICIES = ("active", "passive")
TRAINING = """
import resource, torch
torch.manual_seed(0)
torch.set_num_threads({threads})
layers = [torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(12)]
network = torch.nn.Sequential(*layers)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
images = torch.rand(4, 64, 16, 16)
started = resource.getrusage(resource.RUSAGE_SELF)
for _ in range({steps}):
    optimizer.zero_grad()
    (network(images) - images).abs().mean().backward()
    optimizer.step()
ended = resource.getrusage(resource.RUSAGE_SELF)
print(ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime)
"""


def train(policy, *, steps):
    """CPU seconds and wall seconds of the training in a new process."""
    text = TRAINING.format(threads=CORES, steps=steps)
    started = time.perf_counter()
    variables = {**os.environ, "OMP_WAIT_POLICY": policy}
    done = subprocess.run([sys.executable, "-c", text], env=variables, capture_output=True, text=True, check=True)
    return float(done.stdout), time.perf_counter() - started


def measure(policy, busy, *, rounds, steps):
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        cpu, wall = zip(*(train(policy, steps=steps) for _ in range(rounds)), strict=True)
    finally:
        for other in others:
            other.kill()
            other.wait()
    return median(cpu), median(wall)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rows = []
    for policy in POLICIES:
        alone, wall = measure(policy, 0, rounds=options.rounds, steps=options.steps)
        rows += [row(f"{policy}: alone, CPU time", alone, "s"), row(f"{policy}: alone, wall time", wall, "s")]
        for busy in (1, 2):
            cpu, _ = measure(policy, busy, rounds=options.rounds, steps=options.steps)
            ratio, judged = cpu / alone, policy == "passive"
            name = f"{policy}: beside {busy} busy, CPU time over that alone"
            met = ratio <= TARGET if judged else None
            rows.append(row(name, ratio, "x", target=f"<= {TARGET}" if judged else "", met=met))
    show(rows)
    write_record(options.json, {"environment": environment("torch"), "rows": rows})


if __name__ == "__main__":
    main()
