"""Estimate the hours of the trainings of a table on this machine.

The operations of a training step are counted (:mod:`hsipipe.methods.training_cost`). This machine's rate is that of a
convolution, measured in about a second. ``efficiency.yaml`` holds the share of that rate that each network reached in
``benchmarks/step_efficiency.py``. An estimate is good to a factor of two; on a GPU, where small convolutions reach less
of the rate, it is a lower bound.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import yaml

from hsipipe.methods.catalogue import entry, gae_settings, is_trained, lineage, method_settings
from hsipipe.params import Params

if TYPE_CHECKING:
    from hsipipe.methods.base import Frame

OTHER = 0.5
"""Efficiency of a network that was not measured."""


@dataclass(frozen=True)
class Cost:
    """The training of a method or an autoencoder.

    Attributes:
        name: The method, or ``autoencoder NAME``.
        steps: Optimizer steps.
        flop: Operations of one step; a multiply-add is two.
        efficiency: Share of the rate of a convolution.
    """

    name: str
    steps: int
    flop: float
    efficiency: float

    def hours(self, rate: float) -> float:
        """Return the hours at a rate of convolutions in FLOP/s."""
        return self.steps * self.flop / (rate * self.efficiency) / 3600


def costs(params: Params, frame: "Frame") -> Iterator[Cost]:
    """Yield the trainings of the methods in ``compare``, each once."""
    from hsipipe.methods.training_cost import autoencoder_flop, method_flop

    names = dict.fromkeys(name for row in params.compare for name in lineage(row))
    for autoencoder in dict.fromkeys(found for name in names if (found := entry(name).autoencoder) is not None):
        steps = gae_settings(params, autoencoder).optimizer.steps
        flop = autoencoder_flop(params, autoencoder, frame)
        if flop:
            yield Cost(f"autoencoder {autoencoder}", steps, flop, efficiency("autoencoder"))
    for name in names:
        if is_trained(params, name):
            steps = method_settings(params, name).optimizer.steps  # type: ignore[attr-defined]
            yield Cost(name, steps, method_flop(params, name, frame), efficiency(name))


@cache
def convolution_rate(device: str, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Measure the rate of a convolution of 128 features with its gradient, the best of ten, in FLOP/s."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    layer = torch.nn.Conv2d(128, 128, 3, padding=1, device=device)
    images = torch.rand(1 if device == "cpu" else 64, 128, 64, 64, device=device, requires_grad=True)

    def step() -> None:
        layer(images).sum().backward()
        if device != "cpu":
            torch.cuda.synchronize()

    with FlopCounterMode(display=False) as counter:
        step()
    taken = []
    for _ in range(10):
        start = clock()
        step()
        taken.append(clock() - start)
    return float(counter.get_total_flops()) / min(taken)


def efficiency(name: str) -> float:
    """Return the measured share of a convolution's rate, of the method or of the entry it starts from."""
    known: dict[str, float] = yaml.safe_load(files("flows.tables").joinpath("efficiency.yaml").read_text("utf-8")) or {}
    if name in known:
        return known[name]
    from hsipipe.methods.catalogue import entries

    if name not in entries():
        return OTHER
    same = entries()[name].where
    return next((known[other] for other in known if other in entries() and entries()[other].where == same), OTHER)
