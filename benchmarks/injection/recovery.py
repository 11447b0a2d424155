"""What all faults share: a laboratory, the plain command afterwards, and what it must come to."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from injection.invariants import no_open_run, nobody_left, nothing_half_written, same_results
from injection.laboratory import Checkout, check


class Skipped(Exception):
    """This machine cannot have the fault."""


class Laboratory(Protocol):
    """Where checkouts come from."""

    scratch: Path
    env: Mapping[str, str]

    def reference(self, model: str) -> Path: ...

    def checkout(self, model: str, undone: Sequence[str] | None) -> Checkout: ...


SINGLE = "dmgasr"
# Its outputs are what they were after it, so that nothing else has to run again.
STAGE = "train_control"


def recovers(lab: Laboratory, checkout: Checkout, *command: str, env: Mapping[str, str] | None = None) -> None:
    """The plain command ends with the results of an undisturbed run, and nothing is left over or open."""
    checkout.finish(*command, env=env)
    nobody_left(checkout)
    nothing_half_written(checkout.root)
    same_results(checkout.root, lab.reference(SINGLE))
    no_open_run(checkout.root)


def complaint(code: int, said: str, *parts: str) -> str:
    """The last line of a command that must have failed for a reason that it names."""
    check(code not in (0, -signal.SIGKILL), f"it ended with {code}: {said[-1500:]}")
    check("Traceback" not in said, f"a traceback: {said[-3000:]}")
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    check(lines, f"no line says what is wrong: {said[-1500:]}")
    for part in parts:
        check(part in said, f"{part!r} is not named: {said[-1500:]}")
    return lines[-1]


def shortened(line: str, checkout: Checkout) -> str:
    return line.replace(str(checkout.root), "<checkout>")[:300]
