"""How often and how fast what failed for want of a network is tried again."""

import math
import os

from hsipipe.errors import ParamsError

RETRIES = 3
_VARIABLE = "HSIPIPE_RETRY_S"


def retry_delay_s() -> float:
    """Seconds before the first retry, doubled for each one after it; 10, or what ``HSIPIPE_RETRY_S`` says.

    Raises:
        ParamsError: It says no number.
    """
    text = os.environ.get(_VARIABLE, "10")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ParamsError(f"{_VARIABLE} must be a number of seconds, got {text!r}.")
    return value
