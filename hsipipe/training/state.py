"""Resume points: one safetensors file with all data for resuming a training bit for bit."""

import json
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

logger = logging.getLogger(__name__)

RESUME = "resume.safetensors"


@dataclass
class Progress:
    """Progress of a training.

    Attributes:
        step: Number of completed optimizer steps.
        best_step: Step of the best validation so far.
        best_value: Its value; higher is better.
        rows: History, one dict per logged step.
        seconds: Wall time of these steps, summed over all resumed runs.
        collapses: Step and reason of each collapse, after which the training restarted from its best step.
        since: Step from which the last restart went on.
        skipped: Steps that were skipped for their gradient or loss.
        skipped_in_a_row: Those at the end of the history.
        usual_norm: Usual norm of the gradient.
        losses: Sum and number of the losses since the last validation.
        fault: Why the training was given up; empty: it was not.
    """

    step: int = 0
    best_step: int = 0
    best_value: float | None = None
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    collapses: list[str] = field(default_factory=list)
    since: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    usual_norm: float | None = None
    losses: tuple[float, int] = (0.0, 0)
    fault: str = ""

    def add_loss(self, value: float) -> None:
        """Add the loss of a step."""
        total, count = self.losses
        self.losses = (total + value, count + 1)

    def take_loss(self, name: str) -> dict[str, float]:
        """Return the mean loss since the last call under a name; empty without a loss."""
        total, count = self.losses
        self.losses = (0.0, 0)
        return {name: total / count} if count else {}

    @property
    def restarts(self) -> int:
        """Number of restarts."""
        return len(self.collapses)

    def go_back(self, step: int, reason: str) -> None:
        """Forget what came after a step, and note why."""
        self.collapses = [*self.collapses, f"step {self.step}: {reason}"]
        self.rows = [row for row in self.rows if row["step"] <= step]
        self.step, self.since = step, step
        self.skipped_in_a_row, self.usual_norm, self.losses = 0, None, (0.0, 0)

    def stale(self) -> int:
        """Number of validations since the best one."""
        return sum(row["step"] > self.best_step for row in self.rows)


def save_resume(work: Path, *, progress: Progress, tensors: dict[str, dict[str, Tensor]], opt: Optimizer) -> None:
    """Replace the resume point in `work` atomically.

    Args:
        work: Existing folder.
        progress: Written into the file's header.
        tensors: Named state dicts ("model", "ema", "best").
        opt: Optimizer, whose state is saved.
    """
    flat = {f"{part}/{name}": t for part, state in tensors.items() for name, t in state.items()}
    state = opt.state_dict()["state"]
    flat |= {f"optimizer/{i}/{name}": t for i, slots in state.items() for name, t in slots.items()}
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in flat.items()}
    temporary = work / f".{RESUME}.tmp"
    told = json.dumps(asdict(progress))
    try:
        save_file(plain, temporary, metadata={"progress": told, "crc32c": _checksum(told, plain)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(work / RESUME)
    except BaseException:  # part of a file would keep a full disk full
        temporary.unlink(missing_ok=True)
        raise


def load_resume(
    work: Path,
) -> tuple[Progress, dict[str, dict[str, Tensor]], dict[int, dict[str, Tensor]]] | None:
    """Load the resume point in `work`: progress, named state dicts, optimizer slots; None if there is none.

    A file that is unreadable or fails its checksum is logged and treated as missing. Training then starts again, which
    takes longer but gives the same result.
    """
    path = work / RESUME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            told = dict(file.metadata())
            flat = {key: file.get_tensor(key) for key in file.keys()}
        # The format has no checksum; without one, training would continue from corrupted weights unnoticed.
        if told["crc32c"] != _checksum(told["progress"], flat):
            raise ValueError("its bytes are not those that were written")
        progress = Progress(**json.loads(told["progress"]))
        progress.losses = (progress.losses[0], progress.losses[1])  # JSON has no tuples
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        logger.warning("The resume point %s is damaged (%s); the training starts again.", path, error)
        return None
    tensors: dict[str, dict[str, Tensor]] = {}
    slots: dict[int, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        part, _, name = key.partition("/")
        if part == "optimizer":
            index, _, slot = name.partition("/")
            slots.setdefault(int(index), {})[slot] = tensor
        else:
            tensors.setdefault(part, {})[name] = tensor
    return progress, tensors, slots


def _checksum(progress: str, tensors: dict[str, Tensor]) -> str:
    """Compute the CRC-32C of the content of a resume point, with the tensors sorted by name."""
    value = google_crc32c.value(progress.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        value = google_crc32c.extend(value, f"{name}, {tensor.dtype}, {tuple(tensor.shape)}".encode())
        value = google_crc32c.extend(value, tensor.reshape(-1).view(torch.uint8).numpy())
    return f"{value:08x}"


def restore_optimizer(opt: Optimizer, slots: dict[int, dict[str, Tensor]]) -> None:
    """Load the slots of :func:`load_resume` into a new optimizer of the same parameters."""
    state: dict[str, Any] = opt.state_dict()
    state["state"] = slots
    opt.load_state_dict(state)
