"""Run a training in one process, or in several that share each batch.

Lightning Fabric handles several processes, mixed precision and compiled networks. A training of one process in
float32 runs without it, because importing Fabric takes longer than the rest of the start of a small training.
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
        """Device of this process."""

    @property
    def world_size(self) -> int:
        """Number of processes."""

    @property
    def global_rank(self) -> int:
        """Rank of this process, from 0."""

    @property
    def is_global_zero(self) -> bool:
        """True in the first process."""

    def setup(self, module: nn.Module, optimizer: Optimizer, /) -> Any:
        """Move module and optimizer to the device and wrap them."""

    def backward(self, loss: Tensor, /) -> None:
        """Compute the gradients."""

    def all_reduce(self, value: Tensor, /, *, reduce_op: str) -> Any:
        """Reduce a value over the processes."""

    def broadcast(self, value: Any, /) -> Any:
        """Return the value of the first process."""

    def barrier(self) -> None:
        """Wait for the other processes."""


class OneProcess:
    """A :class:`Launcher` for one process in float32."""

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def setup(self, module: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Move the module; its parameters stay the same objects, so the optimizer remains valid."""
        return module.to(self.device), optimizer

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def all_reduce(self, value: Tensor, *, reduce_op: str) -> Tensor:
        """Return the value."""
        del reduce_op
        return value

    def broadcast(self, value: Any) -> Any:
        """Return the value."""
        return value

    def barrier(self) -> None:
        """Do nothing: there is no other process."""


@dataclass(frozen=True)
class Audience:
    """Callbacks that report the progress of a training.

    Attributes:
        log: Called with a step and its metrics.
        advance: Called with a number of steps and the note behind the progress bar.
        say: Called with a line for the user.
    """

    log: Callable[[int, Mapping[str, float]], None]
    advance: Callable[[int, str], None]
    say: Callable[[str], None]


Job = Callable[[Launcher, Audience], R]


def check_devices(hardware: HardwareParams, *, batch: int) -> None:
    """Check that enough devices are available and that the processes can share a batch evenly.

    Raises:
        ParamsError: The accelerator is not available or has too few devices, or the batch is not a multiple of the
            number of processes.
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
        job: The training; it is pickled if there are several processes.
        hardware: Accelerator, precision, and number of processes.
        audience: Callbacks, called in this process only.

    Returns:
        Result of the job in the first process.

    Raises:
        TrainingError: A process died.
        Exception: Any error raised in a process.
    """
    if hardware.devices == 1:
        device = device_for(hardware.accelerator)
        if hardware.precision == "32-true" and not hardware.compile:
            return job(OneProcess(device), audience)
        from lightning.fabric import Fabric

        return job(Fabric(accelerator=device.type, devices=1, precision=hardware.precision), audience)
    from hsipipe.training.team import run_team

    return run_team(job, hardware=hardware, audience=audience)
