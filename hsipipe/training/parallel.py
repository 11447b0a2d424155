"""One training in one process, or in several that share each batch.

Lightning Fabric runs what needs it: several processes, mixed precision, compiled networks. A training of one process in
float32 runs without it: Fabric's import takes longer than the rest of a small training's start.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hsipipe.errors import ParamsError
from hsipipe.methods.device import device_for
from hsipipe.params import HardwareParams

R = TypeVar("R")


class Launcher(Protocol):
    """The part of Lightning Fabric's interface that the loop uses."""

    @property
    def device(self) -> torch.device:
        """Where this process computes."""

    @property
    def world_size(self) -> int:
        """Number of processes."""

    @property
    def global_rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first process."""

    def setup(self, module: nn.Module, optimizer: Optimizer, /) -> Any:
        """Move module and optimizer to the device and wrap them."""

    def backward(self, loss: Tensor, /) -> None:
        """Compute the gradients."""

    def all_reduce(self, value: Tensor, /, *, reduce_op: str) -> Any:
        """Reduce a value over the processes."""

    def broadcast(self, value: Any, /) -> Any:
        """The value of the first process."""

    def barrier(self) -> None:
        """Wait for the other processes."""


class OneProcess:
    """A :class:`Launcher` for one process in float32."""

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def setup(self, module: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Move the module; its parameters stay the same objects, so the optimizer follows."""
        return module.to(self.device), optimizer

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def all_reduce(self, value: Tensor, *, reduce_op: str) -> Tensor:
        """The value itself."""
        del reduce_op
        return value

    def broadcast(self, value: Any) -> Any:
        """The value itself."""
        return value

    def barrier(self) -> None:
        """There is nothing to wait for."""


@dataclass(frozen=True)
class Audience:
    """Whom a training tells how it goes.

    Attributes:
        log: Gets a step and its metrics.
        advance: Moves the progress bar by some steps and replaces the note behind it.
        say: Gets a line for people.
    """

    log: Callable[[int, Mapping[str, float]], None]
    advance: Callable[[int, str], None]
    say: Callable[[str], None]


Job = Callable[[Launcher, Audience], R]


def check_devices(hardware: HardwareParams, *, batch: int) -> None:
    """Check that the processes are there and that a batch can be shared evenly.

    Raises:
        ParamsError: The accelerator is not there, or too few of it, or the batch is no multiple of the processes.
    """
    kind, devices = device_for(hardware.accelerator).type, hardware.devices
    if batch % devices:
        raise ParamsError(
            f"A batch of {batch} patches cannot be shared evenly by {devices} processes; make optimizer.batch a "
            f"multiple of hardware.devices, such as {(batch // devices + 1) * devices}."
        )
    if kind == "cuda" and devices > torch.cuda.device_count():
        raise ParamsError(
            f"hardware.devices is {devices}, but torch sees {torch.cuda.device_count()} GPU here; set it to that."
        )


def run(job: Job[R], *, hardware: HardwareParams, audience: Audience) -> R:
    """Run a training on the hardware.

    Args:
        job: The training; it is pickled where there are several processes.
        hardware: Accelerator, precision, and how many processes.
        audience: Called in this process alone.

    Returns:
        What the job gives in the first process.

    Raises:
        TrainingError: A process died.
        Exception: Whatever a process raised.
    """
    if hardware.devices == 1:
        device = device_for(hardware.accelerator)
        if hardware.precision == "32-true" and not hardware.compile:
            return job(OneProcess(device), audience)
        from lightning.fabric import Fabric

        return job(Fabric(accelerator=device.type, devices=1, precision=hardware.precision), audience)
    from hsipipe.training.team import run_team

    return run_team(job, hardware=hardware, audience=audience)
