"""Signals that ask for an end, and two that begin at once."""

import signal
import time
from collections.abc import Sequence

from injection.invariants import nobody_left, nothing_half_written
from injection.laboratory import REPRO, begun, check
from injection.recovery import SINGLE, STAGE, Laboratory, complaint, recovers


def signalled(
    lab: Laboratory, *, number: signal.Signals, target: str, command: Sequence[str] = REPRO, moment: float = 0
) -> str:
    """SIGTERM or SIGINT to the stage, to dvc, or to the command."""
    checkout = lab.checkout(SINGLE, [STAGE])
    with begun(checkout, STAGE, *command) as child:
        time.sleep(moment)  # a moment within the stage
        process = {"stage": checkout.stage_process(STAGE), "dvc": checkout.dvc_process()}.get(target)
        if process is None:
            child.process.send_signal(number)
        else:
            process.send_signal(number)
        code, said = child.end()
        # While a stage runs dvc leaves Ctrl-C to it; where dvc alone gets the signal, the pipeline just goes on.
        ignored = target == "dvc" and number == signal.SIGINT
        check(code != 0 or ignored, f"it ended as if nothing had happened: {said[-1500:]}")
        check("Traceback" not in said or target == "dvc", f"a traceback: {said[-3000:]}")
        nobody_left(checkout)
        nothing_half_written(checkout.root)
        left = [path.name for path in (checkout.root / "models").glob(".*.tmp")]
        check(not left, f"left behind: {left}")
    recovers(lab, checkout)
    return f"exit {code}; tidy; the plain command ends the same"


def two_at_once(lab: Laboratory) -> str:
    checkout = lab.checkout(SINGLE, [STAGE])
    with begun(checkout, STAGE, *REPRO) as first:
        code, said = checkout.run(*REPRO)
        check(code == 75, f"the second one ended with {code}: {said[-1500:]}")
        complaint(code, said, "is already running")
        code, said = first.end()
        check(code == 0, f"the first one was harmed, {code}: {said[-1500:]}")
    recovers(lab, checkout)
    return "the second one is refused with 75, the first one ends well"


def two_dvc_at_once(lab: Laboratory) -> str:
    checkout = lab.checkout(SINGLE, [STAGE])
    with begun(checkout, STAGE, "-m", "dvc", "repro") as first:
        code, said = checkout.run("-m", "dvc", "repro")
        check(code != 0, f"the second one ended as if it were alone: {said[-1500:]}")
        code, said = first.end()
        check(code == 0, f"the first one was harmed, {code}: {said[-1500:]}")
    recovers(lab, checkout)
    return "the second one fails, the first one ends well"
