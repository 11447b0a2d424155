"""One training step of hsrdiff and ddpmfus at the sizes of their presets: parameters, and the memory that it takes.

    python benchmarks/fusion_paper_step.py --json benchmarks/results/fusion_paper_step.json

Batch and image size of the preset's first phase, 31 + 3 bands, forward, backward and Adam in float32 on the CPU. The
peak is that of a process of its own, Python and weights included. The step of hsrdiff takes a quarter of an hour on
two cores.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from record import ROOT, environment, write_record  # isort: skip

import torch

from hsipipe.degradation.psf import Psf
from hsipipe.methods.fusion.setup import Pairing
from hsipipe.methods.presets import load_preset
from hsipipe.params import load_params, parse_params
from hsipipe.training.fusion_recipes import RECIPES

BANDS, MSI_BANDS, SCALE = 31, 3, 32
PAPER = {"hsrdiff": 31.56e6}


def merged(base: dict, change: dict) -> dict:
    return base | {k: merged(base[k], v) if isinstance(v, dict) else v for k, v in change.items()}


def step(model: str) -> dict[str, float]:
    torch.set_num_threads(2)
    params = parse_params(merged(load_params(ROOT / "params.yaml").model_dump(), load_preset(f"{model}-paper")))
    recipe = RECIPES[model](params)
    phase = recipe.phases[0] if recipe.phases else None
    batch = phase.batch if phase else recipe.optimizer.batch
    size = phase.size if phase else params.patches.size
    network = recipe.build(
        Pairing(BANDS, MSI_BANDS, SCALE, Psf("average")), "diffusion", None, patch=params.patches.size
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    noisy = torch.randn(batch, BANDS, size, size)
    started = time.perf_counter()
    condition = torch.randn(batch, BANDS + MSI_BANDS, size, size)
    network(noisy, condition, torch.full((batch,), 0.5)).abs().mean().backward()
    optimizer.step()
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "batch": batch,
        "size": size,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["ddpmfus", "hsrdiff"])
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(step(options.only)))
        return
    rows = {}
    for model in options.models:
        command = [sys.executable, __file__, "--only", model]
        rows[model] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        paper = f" ({rows[model]['parameters'] / PAPER[model] - 1:+.1%} of the paper's)" if model in PAPER else ""
        print(f"{model}: {rows[model]['parameters'] / 1e6:.2f} M parameters{paper}; {rows[model]}", flush=True)
    if options.json:
        write_record(options.json, {"environment": environment("torch"), "rows": rows})


if __name__ == "__main__":
    main()
