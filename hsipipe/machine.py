"""Tell errors of the machine, such as a full disk or too little memory, from those of a file or of the code."""

import errno
import re
from typing import Literal

from hsipipe.errors import one_line

Trouble = Literal["disk", "read-only", "access", "memory", "device"]

_FULL = re.compile(r"no space left on device|disk is full|disk quota exceeded|os error 28\b", re.IGNORECASE)
_READ_ONLY = re.compile(r"read-only file ?system|readonly database|os error 30\b", re.IGNORECASE)
_MEMORY = re.compile(
    r"(cannot|can't|could not|couldn't|failed to|unable to) (re)?allocate|allocation (failed|failure)"
    r"|allocation of \d+ bytes failed|out ?of ?memory|not enough memory|insufficient memory|bad_alloc|bad alloc\b"
    r"|\bMemoryError\b|can't start new thread|os error 12\b",
    re.IGNORECASE,
)
_NUMBERS: dict[int, Trouble] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "disk"),
    errno.EROFS: "read-only",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "access"),
    errno.ENOMEM: "memory",
    **dict.fromkeys((errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENXIO), "device"),
}
_TEXTS: tuple[tuple[re.Pattern[str], Trouble], ...] = ((_FULL, "disk"), (_READ_ONLY, "read-only"), (_MEMORY, "memory"))


def machine_trouble(error: BaseException) -> tuple[Trouble, str] | None:
    """Return the kind of an error of the machine and the message that names it; None for any other error.

    Libraries wrap the system's error in their own, so the whole chain is searched.
    """
    seen: BaseException | None = error
    while seen is not None:
        said = one_line(seen)
        kind = _kind(seen, said)
        if kind is not None:
            return kind, said
        seen = seen.__cause__ or seen.__context__
    return None


def _kind(error: BaseException, said: str) -> Trouble | None:
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return _NUMBERS[error.errno]
    return next((kind for pattern, kind in _TEXTS if pattern.search(said)), None)
