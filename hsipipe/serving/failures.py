"""What a client is told that cannot be served: a status and one line, and nothing of the inside of the server."""

import json
import re
from pathlib import Path

from hsipipe.errors import HsipipeError

INTERNAL = "The server failed; its log says more."
NO_MEMORY = "Not enough memory for this prediction; send a smaller cube, or a smaller tile."
_LONGEST = 2000


class RequestError(HsipipeError, ValueError):
    """A request that is not served.

    Args:
        status: Of HTTP.
        message: What was got, what was expected, how to mend it.
        reason: One word for the counters; None: it is no matter of a limit.
        retry_s: After how many seconds it may be served.
    """

    def __init__(self, status: int, message: str, *, reason: str | None = None, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.retry_s = status, reason, retry_s


class ClientGoneError(Exception):
    """Nobody waits for the answer."""


def as_request_error(error: Exception, folder: Path) -> RequestError | None:
    """What a client is told of an error of its request; None: it is one of the server.

    Args:
        error: Any error of a prediction.
        folder: Where the upload lies, which is nobody's concern.
    """
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _is_of_memory(str(error))):
        return RequestError(503, NO_MEMORY, reason="memory", retry_s=10)
    if not isinstance(error, HsipipeError):
        return None
    message = one_line(str(error).replace(f"{folder}/", "").replace(str(folder), "the upload"))
    if isinstance(error, RequestError):
        return RequestError(error.status, message, reason=error.reason, retry_s=error.retry_s)
    return RequestError(400, message)


def body_of(message: str) -> bytes:
    """The JSON body of an error."""
    return json.dumps({"error": one_line(message)}).encode()


def headers_of(error: RequestError) -> dict[str, str]:
    """The headers of an error."""
    return {} if error.retry_s is None else {"Retry-After": str(error.retry_s)}


def one_line(text: str) -> str:
    """A text of bounded length without line feeds and control characters."""
    line = " ".join(re.sub(r"[\x00-\x1f\x7f]+", " ", text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _is_of_memory(text: str) -> bool:
    return "out of memory" in text or "allocate memory" in text
