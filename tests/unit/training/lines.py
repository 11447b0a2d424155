"""A small regression that spawned processes can import: they must find their task by the name of its module."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hsipipe.errors import DataError
from hsipipe.params import HardwareParams, OptimizerParams
from hsipipe.training.loop import fit, generator_for

BATCH = 12
PARAMS = OptimizerParams(
    steps=12, batch=BATCH, lr=0.01, weight_decay=0.0, warmup=2, ema=0.9, validate_every=3, patience=0, save_every=4
)


@dataclass
class Line:
    """Fit y = 2 x; on demand a process dies, fails or stands still in a step, or the loss is no number from a step on.

    `ruin` is a folder of marks: each process ruins its weights once, in step 10.
    """

    die_at: int | None = None
    die_in: int = 0
    bad_data_at: int | None = None
    nan_at: int | None = None
    stop_at: int | None = None
    ruin: Path | None = None
    seed: int = 5

    def loss(self, module, step, part):
        x = torch.randn(BATCH, 4, generator=generator_for(self.seed, step))[part]
        number = part.start // len(x)
        if (step, number) == (self.die_at, self.die_in):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self.stop_at:
            signal.pause()
        if (step, number) == (self.bad_data_at, 1):
            raise DataError("Dead band.")
        if self.ruin is not None and step == 10 and not (mark := self.ruin / str(number)).exists():
            mark.touch()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.mul_(-30)
        loss = (module(x) - 2 * x).square().mean()
        is_bad = self.nan_at is not None and step >= self.nan_at and number == 1
        return loss * float("nan") if is_bad else loss

    def validate(self, module):
        x = torch.ones(1, 4)
        return {"val_db": -float((module(x) - 2 * x).square().mean())}


def network(width: int = 16) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))


def hardware(devices: int = 1, *, compiled: bool = False) -> HardwareParams:
    return HardwareParams(accelerator="cpu", precision="32-true", compile=compiled, devices=devices)


def train(
    work: Path,
    task: Line,
    *,
    devices: int,
    log=lambda step, metrics: None,
    params=PARAMS,
    compiled=False,
    deadline=None,
):
    return fit(
        network(),
        task,
        params=params,
        hardware=hardware(devices, compiled=compiled),
        work=work,
        log=log,
        description="line",
        deadline=deadline,
    )
