"""A data set `folder` whose reader fails as the name of the scene says, importable by child processes."""

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from hsipipe.datasets.folder import FolderDataset
from hsipipe.errors import FileFormatError


@dataclass(frozen=True)
class OddReaders(FolderDataset):
    """Reads a scene as its name says: ``signal-11``, ``errno-28``, ``spin``, ``sleep``, ``memory``, ``bug``."""

    def read(self, path):
        kind, _, number = path.stem.partition("-")
        match kind:
            case "signal":
                os.kill(os.getpid(), int(number))
            case "errno":
                raise FileFormatError("the file is damaged") from OSError(int(number), os.strerror(int(number)))
            case "spin":
                while True:
                    np.linspace(0, 1, 100_000).sum()
            case "sleep":
                time.sleep(3600)
            case "memory":
                return np.zeros(1 << 60, np.uint8)
            case "text":
                raise FileFormatError("the file is damaged: std::bad_alloc")
            case "exit":
                os._exit(3)
            case "bug":
                raise ZeroDivisionError("by zero")
        return super().read(path)


def crash(*_):
    """End the process as a library does that a file has misled."""
    os.kill(os.getpid(), signal.SIGSEGV)


def sleep(*_):
    """Read for an hour, without an answer and without CPU time."""
    time.sleep(3600)
