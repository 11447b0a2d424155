"""A time limit for trainings: after it the loop saves a resume point and stops, and the same command resumes it.

A deadline can also end a training, which is then complete with its best weights.
"""

import os
import time
from dataclasses import dataclass

from hsipipe.errors import ParamsError, TrainingPausedError

STOP_AFTER = "HSIPIPE_STOP_AFTER_MIN"
"""Environment variable with the limit in minutes, counted from the start of each training."""
_COMMAND_START = "HSIPIPE_STOP_AFTER_START"
"""Environment variable with the monotonic time in s that ``--stop-after`` counts from: the start of the command."""


@dataclass(frozen=True)
class Deadline:
    """The time at which a training must stop.

    Attributes:
        minutes: The limit, for messages.
        at: Value of :func:`time.monotonic`, which the processes of one machine share.
        ends: End the training with the best weights so far, instead of pausing it at a resume point.
    """

    minutes: float
    at: float
    ends: bool = False

    @classmethod
    def ending_in(cls, seconds: float) -> "Deadline":
        """Return a deadline after which a training ends with its best weights."""
        return cls(seconds / 60, time.monotonic() + seconds, ends=True)

    @classmethod
    def from_environment(cls) -> "Deadline | None":
        """Return the time limit set in the environment, or None.

        Raises:
            ParamsError: The variable is not a positive number.
        """
        text = os.environ.get(STOP_AFTER)
        if not text:
            return None
        minutes = positive_minutes(text)
        start = float(os.environ.get(_COMMAND_START) or time.monotonic())
        return cls(minutes, start + 60 * minutes)

    def has_passed(self) -> bool:
        """Return True once the time limit has passed."""
        return time.monotonic() >= self.at

    def paused(self, step: int, steps: int) -> TrainingPausedError:
        """Return the error that ends a training of `steps` steps after `step` of them."""
        return TrainingPausedError(
            f"stopped after {self.minutes:g} minutes at step {step} of {steps}; give the same command again to resume"
        )


def positive_minutes(text: str) -> float:
    """Parse a limit in minutes.

    Raises:
        ParamsError: It is not a positive number.
    """
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise ParamsError(f"The time limit is {text!r} minutes, expected a positive number such as 30.")
    return minutes


def limit_command(minutes: float) -> None:
    """Limit this process and all its children together, counted from now."""
    os.environ[STOP_AFTER] = f"{minutes:g}"
    os.environ[_COMMAND_START] = repr(time.monotonic())
