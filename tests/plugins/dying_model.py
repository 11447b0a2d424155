"""A model by hand that ends its process once, as the kernel does for want of memory."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from scipy.ndimage import uniform_filter


@dataclass(frozen=True)
class Dying:
    """Ends the process at the tile at `at`, unless `flag` exists, and notes in it which shards were recorded."""

    flag: Path
    at: tuple[int, int]
    records: Path
    device: str = "cpu"

    name, scale, bands, msi_bands, nfe = "dying", 2, None, 0, 0

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        if origin == self.at and not self.flag.exists():
            self.flag.write_text(json.dumps(times(self.records)))
            os.kill(os.getpid(), signal.SIGKILL)
        seen = uniform_filter(lr, (0, 0, 3, 3), mode="constant")
        return seen.repeat(2, axis=2).repeat(2, axis=3)


def times(records):
    """Return when each record was written."""
    return {path.name: path.stat().st_mtime_ns for path in records.glob("[0-9]*.json")}


def always_dying(device):
    """Load a model that ends any process."""
    os.kill(os.getpid(), signal.SIGKILL)


def failing(device):
    """Load no model."""
    raise ValueError(f"no model for {device}")
