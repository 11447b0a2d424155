"""Errors sent to a client: an HTTP status and one line of JSON, without internals of the server."""

import json
from pathlib import Path

from hsipipe.errors import HsipipeError, one_line

INTERNAL = "The server failed; its log has the cause."
NO_MEMORY = "Not enough memory for this prediction; send a smaller cube or set a smaller tile."
_LONGEST = 2000


class RequestError(HsipipeError, ValueError):
    """Refusal of a request.

    Args:
        status: HTTP status.
        message: Got, expected, how to fix.
        reason: Label of the counter of refusals; None where no limit was hit.
        retry_s: Seconds to wait before a retry; None where a retry does not help.
    """

    def __init__(self, status: int, message: str, *, reason: str | None = None, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.retry_s = status, reason, retry_s


class ClientGoneError(Exception):
    """The client disconnected before its answer."""


def shutting_down() -> RequestError:
    """Return the refusal of a request after the begin of the shutdown."""
    return RequestError(503, "The server is shutting down; try again later.", reason="shutdown", retry_s=5)


def as_request_error(error: Exception, folder: Path) -> RequestError | None:
    """Translate an error of a prediction for the client; None for a fault of the server.

    Args:
        error: Any error of a prediction.
        folder: Folder of the upload; removed from the message.
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
    """Return the JSON body of an error, of bounded length."""
    line = one_line(message)
    return json.dumps({"error": line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."}).encode()


def headers_of(error: RequestError) -> dict[str, str]:
    """Return the headers of an error."""
    return {} if error.retry_s is None else {"Retry-After": str(error.retry_s)}


def _is_of_memory(text: str) -> bool:
    return "out of memory" in text or "allocate memory" in text
