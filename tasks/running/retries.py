"""Number and delay of retries after network failures."""

import math
import os

from hsipipe.errors import ParamsError

RETRIES = 3
_VARIABLE = "HSIPIPE_RETRY_S"


def retry_delay_s() -> float:
    """Return the seconds before the first retry, ``HSIPIPE_RETRY_S`` or 10; each further delay doubles.

    Raises:
        ParamsError: The variable is not a number.
    """
    text = os.environ.get(_VARIABLE, "10")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ParamsError(f"{_VARIABLE} must be a number of seconds, got {text!r}.")
    return value
