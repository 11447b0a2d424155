"""The training loop: exact resume, EMA, best checkpoint on validation, early stop, restart after a collapse.

Each step k depends only on the state before it and on (seed, k): the generators of batches, augmentation and
noise are seeded by both. On the CPU, a training that was killed and resumed therefore gives the same bits as one
without interruption. Several processes share each batch and make the same step as one process, up to the rounding
of sums.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from hsipipe.errors import TrainingError
from hsipipe.params import HardwareParams, OptimizerParams
from hsipipe.patches.draws import generator_for
from hsipipe.progress import progress
from hsipipe.training.deadline import Deadline
from hsipipe.training.gradients import bound_gradients, count_bad_loss, is_broken
from hsipipe.training.health import DEAD, LOSS, MAX_RESTARTS, DeadLayers, collapse, has_finite_end
from hsipipe.training.outcome import Fit
from hsipipe.training.parallel import Audience, Launcher, check_devices, run
from hsipipe.training.schedule import learning_rate, update_average
from hsipipe.training.state import Progress, load_resume, restore_optimizer, save_resume

logger = logging.getLogger(__name__)

Log = Callable[[int, Mapping[str, float]], None]
"""Receives a step and its metrics."""

_RUNNING_STEPS = 20
"""Steps over which the loss on the progress bar is averaged."""
_STREAMS_BETWEEN_PROCESSES = 10

M = TypeVar("M", bound=nn.Module)
M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)


class Task(Protocol[M_contra]):
    """The loss and the validation of a training, independent of the loop."""

    seed: int

    def loss(self, module: M_contra, step: int, part: slice) -> Tensor:
        """Compute the loss of step `step` on a part of its batch; the mean over equal parts is that of the whole batch.

        Random numbers are drawn for the whole batch and then cut. Call the network as ``module(...)``: several
        processes do not share the gradients of its other methods.
        """

    def validate(self, module: M_contra) -> Mapping[str, float]:
        """Return metrics of the module on the validation split; the first is the one to maximise."""


def fit(
    module: M,
    task: Task[M],
    *,
    params: OptimizerParams,
    hardware: HardwareParams,
    work: Path,
    log: Log,
    description: str,
    deadline: Deadline | None = None,
) -> Fit:
    """Train `module` on `task` and return the weights of the best validation.

    Args:
        module: Module with initial weights. Its weights after the call are undefined; use the returned ones.
        task: Loss and validation.
        params: Steps, learning rate, EMA, early stop.
        hardware: Device, precision, number of processes.
        work: Folder of the resume point; a resume point in it is continued.
        log: Called with the metrics of each logged step, in this process and without delay.
        description: Text on the progress bar.
        deadline: Time limit; None: the limit set in the environment, if any.

    Raises:
        TrainingError: The loss stays non-finite after all restarts, no validation is finite, or a process died.
        TrainingPausedError: The time limit has passed, and does not end the training; the resume point of the last step
            is saved.
        ParamsError: The accelerator is not available, or the processes cannot share the batch evenly.
    """
    check_devices(hardware, batch=params.batch)
    deadline = deadline or Deadline.from_environment()
    job = partial(_train, module=module, task=task, params=params, hardware=hardware, work=work, deadline=deadline)
    with progress(description, params.steps) as advance:

        def validated(step: int, metrics: Mapping[str, float]) -> None:
            log(step, metrics)
            advance(
                0, ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if name != DEAD), notable=True
            )

        audience = Audience(validated, advance, lambda line: logger.info("%s: %s", description, line))
        fitted = run(job, hardware=hardware, audience=audience)
    if not fitted.weights:
        raise TrainingError(f"{description}: no validation gave a finite value; lower the learning rate.")
    return fitted


def _train(
    fabric: Launcher,
    audience: Audience,
    *,
    module: M,
    task: Task[M],
    params: OptimizerParams,
    hardware: HardwareParams,
    work: Path,
    deadline: Deadline | None,
) -> Fit:
    training = _Training(fabric, audience, module=module, task=task, params=params, compiled=hardware.compile)
    resumed_at = training.go_on_from(work)
    training.go(work, deadline)
    return training.outcome(resumed_at)


class _Training(Generic[M]):
    """A training, in one of its processes."""

    def __init__(
        self,
        fabric: Launcher,
        audience: Audience,
        *,
        module: M,
        task: Task[M],
        params: OptimizerParams,
        compiled: bool,
    ) -> None:
        self.state = Progress()
        self.best: dict[str, Tensor] = {}
        self._fabric, self._audience, self._task, self._params = fabric, audience, task, params
        self._module = module
        trained = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=params.lr, weight_decay=params.weight_decay)
        # Move the module before restoring anything: the optimizer state follows the parameters to their device.
        # Compile the module before Fabric wraps it for several processes. `module` stays unwrapped.
        network = cast(nn.Module, torch.compile(module)) if compiled else module
        self._wrapped, self._optimizer = fabric.setup(network, optimizer)
        self._ema = deepcopy(module).eval().requires_grad_(False)
        share = params.batch // fabric.world_size
        self._part = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
        self._running: float | None = None
        self._judged = ""

    def go_on_from(self, work: Path) -> int:
        """Resume from the resume point in `work`, if there is one; return its step, else 0."""
        resumed = load_resume(work)
        if resumed is None:
            return 0
        self.state, tensors, slots = resumed
        self._module.load_state_dict(tensors["model"])
        self._ema.load_state_dict(tensors["ema"])
        self.best = tensors.get("best", {})
        restore_optimizer(self._optimizer, slots)
        for row in self.state.rows:
            self._audience.log(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
        self._audience.say(f"resume at step {self.state.step} of {self._params.steps}")
        return self.state.step

    def go(self, work: Path, deadline: Deadline | None = None) -> None:
        """Train to the last step, until too many validations in a row have found no new best, or to an ending deadline.

        Raises:
            TrainingPausedError: A deadline that does not end the training passed before that.
        """
        state, params = self.state, self._params
        begun = time.perf_counter() - state.seconds
        self._audience.advance(state.step, "")
        if state.step == 0:
            # The initial weights are a candidate, too: training need not improve on them.
            self._judge()
        over = self._is_over()
        while state.step < params.steps and not over:
            loss = self._step()
            self._audience.advance(1, self._note(loss))
            if state.step % params.validate_every == 0 or state.step == params.steps or is_broken(state):
                self._judge()
                over = self._goes_back(work) or self._is_over()
            state.seconds = time.perf_counter() - begun
            paused = state.step < params.steps and not over and self._is_late(deadline)
            if paused and deadline is not None and deadline.ends:
                if not state.rows or state.rows[-1]["step"] != state.step:
                    self._judge()
                break
            if paused or state.step % params.save_every == 0:
                self._save(work)
            if paused and deadline is not None:
                # The first failing process ends the others, so wait until the resume point is written.
                self._fabric.barrier()
                raise deadline.paused(state.step, params.steps)
        if over and state.step < params.steps and not state.fault:
            self._audience.say(
                f"stopped at step {state.step} of {params.steps}, {params.patience} validations after the best one"
            )

    def outcome(self, resumed_at: int) -> Fit:
        """Return the result after the last step."""
        state = self.state
        return Fit(
            state.step,
            state.seconds,
            self.best,
            state.best_step,
            state.best_value or 0.0,
            resumed_at,
            collapses=tuple(state.collapses),
            skipped=state.skipped,
            fault=state.fault or ("" if state.best_step else "no validation was above that of the untrained start"),
        )

    def _goes_back(self, work: Path) -> bool:
        """Go back to the best step if the training has collapsed; return True if that is no longer allowed.

        The first process decides, since only it has the history.

        Raises:
            TrainingError: The loss is not finite, and no restart is left.
        """
        state, params = self.state, self._params
        finite = not is_broken(state) and has_finite_end(state.rows)
        reason = collapse(state.rows, steps=params.steps) if finite else "loss or validation are not finite"
        known = (reason, finite, state.best_step, state.best_value is not None)
        reason, finite, step, has_best = self._fabric.broadcast(known)
        if not reason or not (has_best or is_broken(state)):
            return False
        if state.restarts < MAX_RESTARTS and has_best:
            self._audience.say(
                f"collapsed at step {state.step} ({reason}); goes on from step {step} with half the learning rate"
            )
            self._audience.advance(step - state.step, "")
            self._restart(step, reason)
            self._save(work)
            return False
        if not finite:
            raise TrainingError(
                f"The loss is not finite at step {state.step}; lower optimizer.lr (now {params.lr}) or check the "
                "data. Nothing was published; the last resume point is kept."
            )
        state.fault = f"collapsed at step {state.step} after {MAX_RESTARTS} restarts: {reason}"
        self._audience.say(f"{state.fault}; step {step} is kept")
        return True

    def _restart(self, step: int, reason: str) -> None:
        """Continue from the best weights with a new optimizer state and half the learning rate."""
        best = self._fabric.broadcast(self.best)
        self._module.load_state_dict(best)
        self._ema.load_state_dict(best)
        restore_optimizer(self._optimizer, {})
        self.state.go_back(step, reason)
        self._running = None

    def _is_over(self) -> bool:
        """Return True if patience is exhausted; the first process decides, since only it validates."""
        over = bool(self.state.fault) or 0 < self._params.patience <= self.state.stale()
        return bool(self._fabric.broadcast(over))

    def _save(self, work: Path) -> None:
        if self._fabric.is_global_zero:
            parts = {"model": self._module.state_dict(), "ema": self._ema.state_dict(), "best": self.best}
            save_resume(work, progress=self.state, tensors=parts, opt=self._optimizer)

    def _is_late(self, deadline: Deadline | None) -> bool:
        """Return True once the deadline has passed; the first process decides for all."""
        return deadline is not None and bool(self._fabric.broadcast(deadline.has_passed()))

    def _judge(self) -> None:
        """Validate, keep the weights if they are the best so far, and log the metrics."""
        if not self._fabric.is_global_zero:
            return
        state = self.state
        # Not inference_mode: tensors that a task caches in it could not be used in the next training step.
        with torch.no_grad(), DeadLayers(self._ema) as layers:
            validation = dict(self._task.validate(self._ema))
        name, value = next(iter(validation.items()))
        if math.isfinite(value) and (state.best_value is None or value > state.best_value):
            state.best_step, state.best_value = state.step, value
            self.best = {name: t.detach().cpu().clone() for name, t in self._ema.state_dict().items()}
        metrics = {**state.take_loss(LOSS), **validation, DEAD: float(layers.count)}
        state.rows.append({"step": state.step, **metrics})
        self._audience.log(state.step, metrics)
        best = "none" if state.best_value is None else f"{state.best_value:.4g} at step {state.best_step}"
        self._judged = f", {name} {value:.4g} (best {best})"

    def _note(self, loss: float) -> str:
        self._running = loss if self._running is None else self._running + (loss - self._running) / _RUNNING_STEPS
        return f"loss {self._running:.4g}{self._judged}"

    def _step(self) -> float:
        """Take one optimizer step; return the loss before it, averaged over all processes."""
        state, params = self.state, self._params
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(state.step, params, restarts=state.restarts, since=state.since)
        loss = self._loss()
        value = float(cast(Tensor, self._fabric.all_reduce(loss.detach().clone(), reduce_op="mean")))
        state.step += 1
        if not math.isfinite(value):
            count_bad_loss(state)
            return value
        state.add_loss(value)
        self._optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        if bound_gradients(self._module.parameters(), state):
            self._optimizer.step()
            update_average(self._ema, self._module, decay=params.ema, step=state.step)
        return value

    def _loss(self) -> Tensor:
        self._wrapped.train()
        device = self._fabric.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # Dropout draws from the global generator; seeding it per step makes it depend only on the step. Each
            # process gets a different stream, so that they drop different units.
            stream = 1 + _STREAMS_BETWEEN_PROCESSES * self._fabric.global_rank
            torch.manual_seed(generator_for(self._task.seed, self.state.step, stream=stream).initial_seed())
            return self._task.loss(cast(M, self._wrapped), self.state.step, self._part)
