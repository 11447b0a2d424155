"""Compare the memory that a task needs with what this process can get."""

import logging
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil

from hsipipe.errors import DataError, ParamsError
from hsipipe.storage.space import size_text

logger = logging.getLogger(__name__)

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]i?b|b)", re.IGNORECASE)
_UNITS = {"b": 1} | {
    f"{letter}{kind}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for kind, base in (("b", 1000), ("ib", 1024))
}
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
# Files with the limit, the use, and statistics with the part of the use that the kernel gives back.
_FILES_V2 = ("memory.max", "memory.current", "memory.stat", "inactive_file")
_FILES_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "total_inactive_file")


def available_memory() -> tuple[int, int]:
    """Return the bytes of memory that this process can get, without swap and with it.

    Limits of a container (cgroup) and of the process (``ulimit -v``, ``ulimit -d``) count, too.
    """
    machine = psutil.virtual_memory().available
    limits = [limit for limit in (_left_in_cgroup(), _left_of_process()) if limit is not None]
    return min([machine, *limits]), min([machine + psutil.swap_memory().free, *limits])


def parse_size(text: str) -> int:
    """Parse a size such as ``4GB``, ``500MB`` or ``1.5 GiB`` in bytes.

    Raises:
        ParamsError: The text is no size.

    >>> parse_size("4GB")
    4000000000
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or (nbytes := int(float(found[1]) * _UNITS[found[2].lower()])) < 1:
        raise ParamsError(f"Got the size {text[:40]!r}, expected a positive number with a unit, such as 4GB or 500MB.")
    return nbytes


def check_memory(need: int, *, what: str, advice: str) -> None:
    """Warn if a task needs more memory than is free, and refuse it if swap does not suffice either.

    Args:
        need: Bytes that the task needs in addition to what the process holds.
        what: Name of the task, the subject of the message.
        advice: What the user can do, a clause without a full stop.

    Raises:
        DataError: The need exceeds memory and swap.
    """
    free, most = available_memory()
    if need > most:
        raise DataError(
            f"{what} needs about {size_text(need)} of memory, but {size_text(most)} are available; {advice}."
        )
    if need > free:
        logger.warning(
            "%s needs about %s of memory, %s are free; the rest is swapped, which is slow: %s",
            what, size_text(need), size_text(free), advice,
        )  # fmt: skip


def _left_in_cgroup() -> int | None:
    """Return the bytes that are left in the memory cgroup of this process and those above it; None without a limit."""
    left = []
    for folder, (limit, use, stat, given_back) in _cgroups():
        try:
            most, used = (int((folder / name).read_text()) for name in (limit, use))
            lines = [line.split() for line in (folder / stat).read_text().splitlines()]
        except (OSError, ValueError):  # no such file, or "max"
            continue
        counts = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
        left.append(max(0, most - used + counts.get(given_back, 0)))
    return min(left, default=None)


def _cgroups() -> Iterator[tuple[Path, tuple[str, str, str, str]]]:
    """Iterate over the memory cgroups of this process, from its own to the root, and the names of their files."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        is_v1 = "memory" in controllers.split(",")
        if controllers and not is_v1:
            continue
        root = _CGROUP_ROOT / "memory" if is_v1 else _CGROUP_ROOT
        folder = root / path.lstrip("/")
        for place in (folder, *folder.parents):
            if place.is_relative_to(root):
                yield place, _FILES_V1 if is_v1 else _FILES_V2


def _left_of_process() -> int | None:
    used = psutil.Process().memory_info()
    limits = ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, getattr(used, "data", 0)))
    left = [(resource.getrlimit(kind)[0], taken) for kind, taken in limits]
    return min([max(0, most - taken) for most, taken in left if most != resource.RLIM_INFINITY], default=None)
