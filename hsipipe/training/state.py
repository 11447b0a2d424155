"""Resume points: one safetensors file that holds everything a training needs to go on bit for bit."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

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
    save_file(plain, temporary, metadata={"progress": json.dumps(asdict(progress))})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(work / RESUME)


def load_resume(
    work: Path,
) -> tuple[Progress, dict[str, dict[str, Tensor]], dict[int, dict[str, Tensor]]] | None:
    """The resume point in `work`: progress, named state dicts, optimiser slots; None if there is none.

    A file that cannot be read counts as none: training then starts again, which costs time, not truth.
    """
    path = work / RESUME
    if not path.is_file():
        return None
    tensors: dict[str, dict[str, Tensor]] = {}
    slots: dict[int, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            for key in file.keys():
                part, _, name = key.partition("/")
                if part == "optimizer":
                    index, _, slot = name.partition("/")
                    slots.setdefault(int(index), {})[slot] = file.get_tensor(key)
                else:
                    tensors.setdefault(part, {})[name] = file.get_tensor(key)
    except (SafetensorError, KeyError, TypeError, ValueError):
        return None
    return progress, tensors, slots


def restore_optimizer(opt: Optimizer, slots: dict[int, dict[str, Tensor]]) -> None:
    """Put the slots of :func:`load_resume` into a fresh optimiser of the same parameters."""
    state: dict[str, Any] = opt.state_dict()
    state["state"] = slots
    opt.load_state_dict(state)
