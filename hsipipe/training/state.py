"""Resume points: one safetensors file that holds everything a training needs to go on bit for bit."""

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
    """Where a training stands.

    Attributes:
        step: Optimiser steps done.
        best_step: Step of the best validation so far.
        best_value: Its value; higher is better.
        rows: History, one dict per logged step.
        seconds: Wall time that these steps took, over all processes that worked on them one after another.
    """

    step: int = 0
    best_step: int = 0
    best_value: float | None = None
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def stale(self) -> int:
        """Validations since the best one."""
        return sum(row["step"] > self.best_step for row in self.rows)


def save_resume(work: Path, *, progress: Progress, tensors: dict[str, dict[str, Tensor]], opt: Optimizer) -> None:
    """Replace the resume point in `work` atomically.

    Args:
        work: Existing folder.
        progress: Goes into the file's header.
        tensors: Named state dicts ("model", "ema", "best").
        opt: Its state goes along.
    """
    flat = {f"{part}/{name}": t for part, state in tensors.items() for name, t in state.items()}
    state = opt.state_dict()["state"]
    flat |= {f"optimizer/{i}/{name}": t for i, slots in state.items() for name, t in slots.items()}
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in flat.items()}
    temporary = work / f".{RESUME}.tmp"
    told = json.dumps(asdict(progress))
    save_file(plain, temporary, metadata={"progress": told, "crc32c": _checksum(told, plain)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(work / RESUME)


def load_resume(
    work: Path,
) -> tuple[Progress, dict[str, dict[str, Tensor]], dict[int, dict[str, Tensor]]] | None:
    """The resume point in `work`: progress, named state dicts, optimiser slots; None if there is none.

    A file that cannot be read, or whose bytes are not those that were written, is named in the log and counts as none:
    training then starts again, which costs time, not truth.
    """
    path = work / RESUME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            told = dict(file.metadata())
            flat = {key: file.get_tensor(key) for key in file.keys()}
        # The format has no checksum of its own: a flipped bit in a weight would train on unseen.
        if told["crc32c"] != _checksum(told["progress"], flat):
            raise ValueError("its bytes are not those that were written")
        progress = Progress(**json.loads(told["progress"]))
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
    """The CRC-32C of all that a resume point holds, in the order of the names."""
    value = google_crc32c.value(progress.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        value = google_crc32c.extend(value, f"{name}, {tensor.dtype}, {tuple(tensor.shape)}".encode())
        value = google_crc32c.extend(value, tensor.reshape(-1).view(torch.uint8).numpy())
    return f"{value:08x}"


def restore_optimizer(opt: Optimizer, slots: dict[int, dict[str, Tensor]]) -> None:
    """Put the slots of :func:`load_resume` into a fresh optimiser of the same parameters."""
    state: dict[str, Any] = opt.state_dict()
    state["state"] = slots
    opt.load_state_dict(state)
