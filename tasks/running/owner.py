"""Identify the process that owns a run, and judge later whether it still lives.

Containers of one name have different processes under the same numbers, and so have machines of one name. A process is
therefore judged only from its own PID namespace of the same boot. After a reboot a process is gone; a reboot is told
from another machine by the id that the system gave to the machine at its installation.
"""

import hashlib
import os
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

# Field 22 of /proc/<pid>/stat (man 5 proc), counted from the one after the name.
_START_TICKS = 19
_OUTERMOST = "4026531836"
"""PID namespace of a machine itself, outside of all containers (PROC_PID_INIT_INO of the kernel)."""
_DIGITS = 8


class Life(Enum):
    """Whether a process still runs."""

    LIVING = "living"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It ran in another container, or on another machine, or its process is hidden from this user."""


class Place(NamedTuple):
    """The place in which a process number has a meaning.

    Attributes:
        boot: Boot of the kernel.
        namespace: PID namespace, one for each container.
        machine: Digest of the machine's id; empty without one.
    """

    boot: str
    namespace: str
    machine: str

    @classmethod
    def here(cls) -> "Place | None":
        """Return the place of this process; None on systems other than Linux."""
        return _here()

    @property
    def is_outermost(self) -> bool:
        """Return whether it is a machine and not a container on it."""
        return self.namespace == _OUTERMOST


@dataclass(frozen=True)
class Owner:
    """Identity of a process, distinct from a later one with the same number.

    Attributes:
        pid: Process number.
        created: Start of the process and its place, as text: the kernel's ticks since boot, which setting the clock
            does not change, then the parts of :class:`Place`. On systems other than Linux, seconds since the epoch.
    """

    pid: int
    created: str

    @classmethod
    def of(cls, process: psutil.Process) -> "Owner":
        """Identify a running process of this PID namespace."""
        return cls(process.pid, _created(process))

    @classmethod
    def me(cls) -> "Owner":
        """Identify this process."""
        return cls.of(psutil.Process())

    def life(self) -> Life:
        """Judge whether this process still runs."""
        there, here = _place(self.created), Place.here()
        if (there is None) != (here is None):
            return Life.UNKNOWN
        if there is not None and here is not None and there[:2] != here[:2]:
            rebooted = there.boot != here.boot and there.machine == here.machine != ""
            return Life.GONE if rebooted and there.is_outermost and here.is_outermost else Life.UNKNOWN
        return self._life_here()

    def is_gone(self) -> bool:
        """Return whether this process has certainly ended."""
        return self.life() is Life.GONE

    def _life_here(self) -> Life:
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return Life.GONE
        except PermissionError:  # of another user; it exists
            pass
        try:
            process = psutil.Process(self.pid)
            same = Owner.of(process) == self and process.status() != psutil.STATUS_ZOMBIE
            return Life.LIVING if same else Life.GONE
        except psutil.Error:  # ended meanwhile, or /proc hides the processes of other users
            return Life.UNKNOWN


def _created(process: psutil.Process) -> str:
    here = Place.here()
    if here is None:
        return f"{process.create_time():.2f}"
    # psutil adds the boot time, which moves when the clock is set: a living owner would look dead.
    try:
        # The second field is a name in brackets, which may hold spaces and brackets.
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError as error:
        raise psutil.NoSuchProcess(process.pid) from error
    return f"{fields.split()[_START_TICKS]}@{'/'.join(here)}"


def _place(created: str) -> Place | None:
    """Parse the place of an owner; None for one of another system, or of an earlier version of this file."""
    parts = created.partition("@")[2].split("/")
    return Place(*parts) if len(parts) == len(Place._fields) else None


@cache
def _here() -> Place | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
    try:
        machine = Path("/etc/machine-id").read_bytes().strip()
    except OSError:
        machine = b""
    # A digest, since systemd asks to keep the id itself on the machine.
    digest = hashlib.sha256(machine).hexdigest()[:_DIGITS] if machine else ""
    return Place(boot[:_DIGITS], namespace.strip("pid:[]"), digest)
