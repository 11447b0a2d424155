"""SIGKILL at random moments of every stage: of the stage, of dvc, of the flow or command above them."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from injection.invariants import done_stages, no_open_run, nobody_left, nothing_half_written, same_results
from injection.laboratory import PATIENCE_S, Checkout, Child, check, wait_until

TARGETS = ("stage", "dvc", "command")
"""What is killed: the process that works, dvc above it, or the command (a flow, or ``tasks repro``) above that."""
BETWEEN = "between stages"


@dataclass(frozen=True)
class Kill:
    """One kill and how it went."""

    stage: str
    target: str
    command: str
    after_s: float
    hit: str
    seconds: float
    failure: str | None = None

    def as_row(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Pass:
    """A run of the pipeline that is killed in one stage after another.

    Attributes:
        command: What is started, and started again.
        target: One of :data:`TARGETS`.
        durations: Seconds that each stage took undisturbed; a kill comes at a random moment of that.
        reference: The undisturbed checkout.
        env: Variables on top of the checkout's, such as the address of a Prefect server.
    """

    command: Sequence[str]
    target: str
    durations: Mapping[str, float]
    reference: Path
    env: Mapping[str, str]

    def go(self, checkout: Checkout, stages: Sequence[str], *, seed: int) -> list[Kill]:
        """Kill once in each of the stages, then run to the end.

        Raises:
            FaultError: The end was never reached, or its results are others.
        """
        rng = random.Random(seed)
        kills = [self._kill(checkout, stage, rng.random()) for stage in stages]
        checkout.finish(*self.command, env=self.env)
        nobody_left(checkout)
        nothing_half_written(checkout.root)
        same_results(checkout.root, self.reference)
        no_open_run(checkout.root)
        return kills

    def _kill(self, checkout: Checkout, stage: str, moment: float) -> Kill:
        begun = time.monotonic()
        after = moment * self.durations[stage]
        child = checkout.start(*self.command, env=self.env)
        wait_until(
            lambda: checkout.stage_process(stage) or child.is_over(), f"the start of {stage}", patience_s=4 * PATIENCE_S
        )
        check(not child.is_over(), f"it ended before {stage}: {child.said()[-1500:]}")
        time.sleep(after)  # the random moment
        hit = self._hit(checkout, child)
        failure = None
        try:
            child.end()
            nobody_left(checkout)
            nothing_half_written(checkout.root)
            same_results(checkout.root, self.reference, only=done_stages(checkout.root))
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        words = " ".join(self.command).removeprefix("-m ")
        return Kill(stage, self.target, words, round(after, 3), hit, round(time.monotonic() - begun, 1), failure)

    def _hit(self, checkout: Checkout, child: Child) -> str:
        """Kill the target; says what was hit, which is another stage where the one meant was over already."""
        running = [stage for stage in self.durations if checkout.stage_process(stage)]
        where = running[0] if running else BETWEEN
        if self.target == "command":
            child.process.kill()
            return where
        process = checkout.stage_process(running[0]) if self.target == "stage" and running else checkout.dvc_process()
        try:
            if process is not None:
                process.kill()
                return where
        except psutil.NoSuchProcess:
            pass
        # Nothing of that kind lives at this moment, between two stages: the command it is, so that the kill counts.
        child.process.kill()
        return f"{where}, command"
