"""Share of a convolution's rate that the training step of each network reaches, for `hsipipe tables NAME --check`.

One thread, CPU time. The networks of the tables at 31 bands, x4, batch 1, patches of 32 or 64 pixels. Prints the
content of flows/tables/efficiency.yaml.

    OMP_NUM_THREADS=1 python benchmarks/step_efficiency.py
"""

import sys
import time
from pathlib import Path

import torch
import yaml

from flows.tables.hours import convolution_rate
from hsipipe.methods.base import Frame
from hsipipe.methods.training_cost import method_flop, trainable_on
from hsipipe.params import Params, load_params
from hsipipe.patches.draws import Draws

PATCH = {"hsrdiff-paper": 32, "dmgasr-paper": 32, "fusformer": 64}
NAMES = [
    "edsr-dmgasr", "gdrrn-dmgasr", "sspsr-dmgasr", "mcnet-dmgasr", "cegatsr-dmgasr", "gelin-dmgasr", "dmgasr-paper",
    "brresnet", "ual", "fusformer", "cmhf-net", "restfnet", "msdcnn", "ssrnet", "psrt", "bdt",
    "ddpmfus-paper", "hsrdiff-paper",
]  # fmt: skip


def seconds(method, images) -> float:
    """CPU seconds of a step, the faster of two."""
    taken = []
    for step in range(2):
        start = time.process_time()
        draws = Draws(0, step, 1, slice(1))
        method.loss(method.network(), method.cut(dict(images), draws), draws).backward()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    torch.set_num_threads(1)
    tree = load_params(Path("params.yaml")).model_dump()
    for name in NAMES:
        tree["methods"][name].setdefault("optimizer", {})["batch"] = 1
    for phase in tree["methods"]["hsrdiff-paper"]["progressive"]:
        phase |= {"size": 32, "batch": 1}
    params, rate = Params.model_validate(tree), convolution_rate("cpu", clock=time.process_time)
    print(f"# convolution: {rate / 1e9:.0f} GFLOP/s", file=sys.stderr)
    found = {}
    for name in sys.argv[1:] or NAMES:
        frame = Frame(31, 4, patch=PATCH.get(name, 64), msi_bands=3)
        flop = method_flop(params, name, frame)
        took = seconds(*trainable_on(params, name, frame))
        found[name] = round(flop / took / rate, 3)
        print(f"# {name}: {flop / 1e9:.1f} GFLOP in {took:.2f} s", file=sys.stderr, flush=True)
    print(yaml.safe_dump(found, sort_keys=False))


if __name__ == "__main__":
    main()
