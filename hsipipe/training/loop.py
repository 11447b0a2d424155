"""The training loop on Lightning Fabric: exact resume, EMA, best checkpoint on validation.

Whatever happens in step k is a function of the state before it and of (seed, k): batches, augmentation
and noise come from generators that are seeded by both. So a training that was killed and started again
ends with the same bits, on the CPU, as one that was not disturbed.
"""

import logging
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from hsipipe.errors import TrainingError
from hsipipe.models.device import device_for
from hsipipe.params import HardwareParams, OptimizerParams
from hsipipe.progress import progress
from hsipipe.training.state import Progress, load_resume, restore_optimizer, save_resume

logger = logging.getLogger(__name__)

Log = Callable[[int, Mapping[str, float]], None]
"""Takes a step and its metrics."""


M = TypeVar("M", bound=nn.Module)
M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)


class Task(Protocol[M_contra]):
    """What is trained, apart from how."""

    seed: int

    def loss(self, module: M_contra, step: int) -> Tensor:
        """The loss of step `step`."""

    def validate(self, module: M_contra) -> Mapping[str, float]:
        """Metrics of the module on the validation split; the first is the one to maximise."""


@dataclass(frozen=True)
class Fit:
    """The outcome of a training.

    Attributes:
        weights: State dict of the best validation.
        best_step: Its step.
        best_value: Its first validation metric.
        resumed_at: The step at which this process went on; 0 for a fresh start.
    """

    weights: dict[str, Tensor]
    best_step: int
    best_value: float
    resumed_at: int


def generator_for(seed: int, step: int, *, stream: int = 0) -> torch.Generator:
    """A generator that depends on (seed, step, stream) alone."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * 97 + stream) % 2**63)


def learning_rate(step: int, params: OptimizerParams) -> float:
    """Linear warm-up, then a cosine to zero, for `step` counted from 0."""
    if step < params.warmup:
        return params.lr * (step + 1) / params.warmup
    share = (step - params.warmup) / max(1, params.steps - params.warmup)
    return params.lr * 0.5 * (1 + math.cos(math.pi * share))


def fit(
    module: M,
    task: Task[M],
    *,
    params: OptimizerParams,
    hardware: HardwareParams,
    work: Path,
    log: Log,
    description: str,
) -> Fit:
    """Train `module` on `task` and return the weights of the best validation.

    Args:
        module: Trained in place.
        task: Loss and validation.
        params: Steps, learning rate, EMA.
        hardware: Device and precision.
        work: Folder of the resume point; a resume point in it is continued.
        log: Gets the metrics of each logged step.
        description: Shown on the progress bar.

    Raises:
        TrainingError: The loss is not finite, or no validation is.
        ParamsError: The accelerator is not there.
    """
    fabric = Fabric(accelerator=device_for(hardware.accelerator).type, devices=1, precision=hardware.precision)
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=params.lr)
    # Moved to its device before anything is restored: the optimiser's state follows its parameters there.
    wrapped, optimizer = fabric.setup(module, optimizer)
    ema = deepcopy(module).eval().requires_grad_(False)
    state, best = Progress(), {}
    resumed = load_resume(work)
    if resumed is not None:
        state, tensors, slots = resumed
        module.load_state_dict(tensors["model"])
        ema.load_state_dict(tensors["ema"])
        best = tensors.get("best", {})
        restore_optimizer(optimizer, slots)
        for row in state.rows:
            log(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
        logger.info("%s: going on at step %d of %d", description, state.step, params.steps)
    resumed_at = state.step

    def judge(measured: Mapping[str, float]) -> str:
        """Validate, keep the weights if they are the best so far, and tell the metrics."""
        nonlocal best
        validation = _validate(task, ema)
        value = next(iter(validation.values()))
        if math.isfinite(value) and (state.best_value is None or value > state.best_value):
            state.best_step, state.best_value = state.step, value
            best = {name: t.detach().cpu().clone() for name, t in ema.state_dict().items()}
        metrics = {**measured, **validation}
        state.rows.append({"step": state.step, **metrics})
        log(state.step, metrics)
        return " ".join(f"{name} {number:.4g}" for name, number in metrics.items())

    with progress(description, params.steps) as advance:
        advance(state.step)
        # The start is a candidate, too: training need not improve on it.
        note = judge({}) if state.step == 0 else ""
        while state.step < params.steps:
            loss = _step(fabric, cast(M, wrapped), optimizer, task, step=state.step, params=params)
            state.step += 1
            _update_ema(ema, module, decay=_ema_decay(params.ema, state.step))
            if state.step % params.validate_every == 0 or state.step == params.steps:
                note = judge({"loss": loss})
            if state.step % params.save_every == 0:
                parts = {"model": module.state_dict(), "ema": ema.state_dict(), "best": best}
                save_resume(work, progress=state, tensors=parts, opt=optimizer)
            advance(1, note=note)
    if state.best_value is None:
        raise TrainingError(f"{description}: no validation gave a finite value; lower the learning rate.")
    return Fit(best, state.best_step, state.best_value, resumed_at)


def _step(
    fabric: Fabric,
    module: M,
    optimizer: torch.optim.Optimizer,
    task: Task[M],
    *,
    step: int,
    params: OptimizerParams,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, params)
    module.train()
    with torch.random.fork_rng():
        # Dropout draws from the global generator; seeding it per step makes it a function of the step.
        torch.manual_seed(generator_for(task.seed, step, stream=1).initial_seed())
        loss = task.loss(module, step)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError(
            f"The loss is {value} at step {step + 1}; lower optimizer.lr (now {params.lr}) or check the data. "
            "Nothing was published; the last resume point is kept."
        )
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    optimizer.step()
    return value


def _ema_decay(decay: float, step: int) -> float:
    # A short memory at first, so that the random initial weights do not linger.
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def _update_ema(ema: nn.Module, module: nn.Module, *, decay: float) -> None:
    for slow, fast in zip(ema.parameters(), module.parameters(), strict=True):
        slow.lerp_(fast.detach(), 1 - decay)
    for kept, current in zip(ema.buffers(), module.buffers(), strict=True):
        kept.copy_(current)


def _validate(task: Task[M], module: M) -> dict[str, float]:
    with torch.inference_mode():
        return dict(task.validate(module))
