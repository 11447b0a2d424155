"""Parse JSON that was written elsewhere."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: Invalid JSON; also for a text that is nested too deeply, which Python reports as a RecursionError.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error
