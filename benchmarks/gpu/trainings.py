"""Trainings that fit into pieces of time: how many steps, what they cost, where to stop, and a look in between."""

import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_post_hook

from hsipipe.params import OptimizerParams
from hsipipe.storage.publish import write_text
from hsipipe.training.loop import Log
from hsipipe.training.state import RESUME, load_resume

VALIDATIONS = 5
"""Validations and resume points of a training, evenly spread."""
MEASURED_STEPS = 5
"""At least so many steps are timed before a training is planned; the first of them are not counted."""

Train = Callable[[Path, OptimizerParams, Path, Log], dict[str, float]]
"""Runs a training stage: output folder, optimiser, folder of the resume point, log."""


class OutOfTimeError(Exception):
    """The piece must end; the resume point is what is kept."""


class _MeasuredError(Exception):
    """Enough steps were timed."""


def plan(train: Train, optimizer: OptimizerParams, *, seconds: float, deadline: float, patience: float) -> dict:
    """How many steps of a training take `seconds`, by timing some of them.

    Args:
        train: The training.
        optimizer: Its own parameters, of which the number of steps is not used.
        seconds: For optimiser steps alone; validations and resume points come on top.
        deadline: Of the piece, in `time.time()`.
        patience: Seconds of steps that are timed, more if they are less than a few steps.

    Raises:
        OutOfTimeError: The deadline passed.
    """
    times: list[float] = []

    def after_step(*_: object) -> None:
        times.append(time.time())
        if times[-1] > deadline:
            raise OutOfTimeError
        if len(times) > MEASURED_STEPS and times[-1] - times[0] > patience:
            raise _MeasuredError

    started, endless = time.time(), optimizer.model_copy(update={"steps": 10**9, "save_every": 10**9})
    endless = endless.model_copy(update={"validate_every": 10**9})
    with tempfile.TemporaryDirectory() as scratch, _after_each_step(after_step):
        out, work = Path(scratch, "out"), Path(scratch, "work")
        out.mkdir()
        work.mkdir()
        try:
            train(out, endless, work, lambda *_: None)
        except _MeasuredError:
            pass
    steady = times[len(times) // 3 :]
    step = statistics.median(b - a for a, b in itertools.pairwise(steady))
    interval = max(1, round(seconds / step / VALIDATIONS))
    return {
        "steps": VALIDATIONS * interval,
        "validate_every": interval,
        "save_every": interval,
        "seconds_per_step": step,
        "seconds_before_the_first_step": times[0] - started,
    }


class Training:
    """One training, over all pieces.

    Args:
        folder: Where its resume point and its journal lie; they outlive a piece.
        planned: What :func:`plan` said.
    """

    def __init__(self, folder: Path, planned: Mapping[str, float]) -> None:
        self.work, self._journal = folder / "resume", folder / "curve.json"
        self._plan = planned
        self.work.mkdir(parents=True, exist_ok=True)

    @property
    def curve(self) -> list[dict[str, float]]:
        """What was logged: step, metrics, and seconds.

        ``seconds`` since the training began, all included but the time between pieces and what was done twice;
        ``seconds_per_step`` of the optimiser steps before, the median.
        """
        return json.loads(self._journal.read_text()) if self._journal.is_file() else []

    @property
    def saved_step(self) -> int:
        """The step of the resume point; 0 if there is none."""
        found = load_resume(self.work)
        return 0 if found is None else found[0].step

    def run(
        self,
        train: Train,
        out: Path,
        optimizer: OptimizerParams,
        *,
        deadline: float,
        told: Callable[[], None],
    ) -> dict[str, float]:
        """Begin or go on, fill `out`, and give what the training says of itself.

        Args:
            train: The training.
            out: Existing empty folder.
            optimizer: With the planned steps.
            deadline: Of the trainings of this piece, in `time.time()`.
            told: Called after each validation.

        Raises:
            OutOfTimeError: The deadline passed, or comes before the next resume point.
        """
        known = {int(row["step"]): row for row in self.curve}
        rows: list[dict[str, float]] = []
        ends: list[float] = []
        started, base, since_save, saves = time.time(), 0.0, 0, 0
        interval_s = self._plan["save_every"] * self._plan["seconds_per_step"]

        def log(step: int, metrics: Mapping[str, float]) -> None:
            # A resumed training tells its rows again; those behind the resume point are gone with their steps.
            nonlocal base, since_save, saves
            if row := known.pop(step, None):
                rows.append(row)
                base = row["seconds"]
                return
            times = [b - a for a, b in itertools.pairwise(ends)] or [self._plan["seconds_per_step"]]
            spent = {"seconds": round(base + time.time() - started, 3), "seconds_per_step": statistics.median(times)}
            rows.append({"step": step, **spent, **metrics})
            ends.clear()
            since_save, saves = 0, saves + (step > 0)
            write_text(self._journal, json.dumps(rows))
            told()

        def after_step(*_: object) -> None:
            nonlocal since_save
            known.clear()
            ends.append(time.time())
            since_save += 1
            left = deadline - time.time()
            # The step before this one was saved. Where another interval does not fit, its steps would be lost.
            if left < 0 or (since_save == 1 and saves and left < interval_s):
                raise OutOfTimeError

        with _after_each_step(after_step):
            return train(out, optimizer, self.work, log)

    @contextmanager
    def so_far(self, train: Train, optimizer: OptimizerParams) -> Iterator[Path]:
        """A checkpoint of an unfinished training: one whose `optimizer` asks for the saved steps has nothing to do."""
        with tempfile.TemporaryDirectory(dir=self.work.parent) as scratch:
            out, work = Path(scratch, "out"), Path(scratch, "work")
            out.mkdir()
            work.mkdir()
            os.link(self.work / RESUME, work / RESUME)
            train(out, optimizer, work, lambda *_: None)
            yield out


@contextmanager
def _after_each_step(function: Callable[..., None]) -> Iterator[None]:
    handle = register_optimizer_step_post_hook(function)
    try:
        yield
    finally:
        handle.remove()
