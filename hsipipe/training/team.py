"""Several processes that share each batch of a training (DDP of Lightning Fabric).

The processes are spawned and run only the training; the command line, with its locks and records, runs in the parent.
The first process reports to the parent while it trains. The parent ends all processes if one fails or if it is
interrupted, and they end with the parent if it is killed.
"""

import multiprocessing
import os
import pickle
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # of torch's C++ part

from hsipipe.errors import HsipipeError, TrainingError
from hsipipe.methods.device import device_for
from hsipipe.params import HardwareParams
from hsipipe.processes import end_with_parent
from hsipipe.training.parallel import Audience, Job

R = TypeVar("R")

_HOST = "127.0.0.1"
_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
_TIMEOUT = timedelta(days=7)
"""Timeout of collectives. It is long, since all wait while the first process validates; the parent detects deaths."""
_GRACE_S = 5.0
"""Seconds to wait for error messages of other processes after one has failed, since they often name the cause."""


def run_team(job: Job[R], *, hardware: HardwareParams, audience: Audience) -> R:
    """Run a training in as many processes as the hardware says; see :func:`hsipipe.training.parallel.run`."""
    # Bind the socket here and pass it on, so that no other process can take the port; only this machine can reach it.
    listener = socket.create_server((_HOST, 0))
    port = listener.getsockname()[1]
    store = TCPStore(_HOST, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    # Pickle copies the weights; multiprocessing's pickler would share their memory between all processes.
    team = _Team(pickle.dumps((job, hardware, port, torch.get_num_threads())), hardware.devices)
    try:
        return cast(R, team.listen(audience))
    finally:
        team.end()
        del store


class _Team:
    """The processes of a training, managed by their parent."""

    def __init__(self, work: bytes, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        self._ears: dict[Connection, int] = {}
        try:
            for rank in range(count):
                ear, mouth = context.Pipe(duplex=False)
                self._ears[ear] = rank
                process = context.Process(target=_work, args=(rank, mouth, work), name=f"train-{rank}")
                self._processes.append(process)
                process.start()
                mouth.close()
        except BaseException:
            self.end()
            raise

    def listen(self, audience: Audience) -> Any:
        """Forward the reports to the callbacks until all processes are done; return the result of the first."""
        result, failures = None, dict[int, BaseException]()
        deadline, open_ears = float("inf"), set(self._ears)
        while open_ears and time.monotonic() < deadline:
            left = None if not failures else deadline - time.monotonic()
            for ear in cast("list[Connection]", wait(list(open_ears), left)):
                rank = self._ears[ear]
                try:
                    kind, values = pickle.loads(ear.recv_bytes())
                except EOFError:
                    kind, values = "failed", (self._silent_end(rank),)
                if kind == "failed":
                    failures[rank] = values[0]
                    deadline = min(deadline, time.monotonic() + _GRACE_S)
                elif kind == "done":
                    result = values[0] if rank == 0 else result
                elif not failures:
                    getattr(audience, kind)(*values)
                if kind in ("failed", "done"):
                    open_ears.discard(ear)
        if failures:
            raise _cause(failures)
        return result

    def _silent_end(self, rank: int) -> TrainingError:
        process = self._processes[rank]
        process.join()
        code = process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return TrainingError(
            f"Training process {rank} of {len(self._processes)} {how}, perhaps for want of memory; start again, with "
            "a smaller optimizer.batch or fewer hardware.devices if it happens again. The last resume point is kept."
        )

    def end(self) -> None:
        """Kill the remaining processes. No cleanup is needed, since resume points are replaced atomically."""
        started = [process for process in self._processes if process.pid is not None]
        for process in started:
            process.kill()
        for process in started:
            process.join()
            process.close()
        for ear in self._ears:
            ear.close()


def _cause(failures: Mapping[int, BaseException]) -> BaseException:
    """Select the failure that explains the others, which often are only lost connections to a dead process."""
    told = [failures[rank] for rank in sorted(failures)]
    return next((error for error in told if isinstance(error, HsipipeError)), told[0])


class _Rank(LightningEnvironment):
    """Tells Fabric the rank of this process."""

    def __init__(self, rank: int, count: int) -> None:
        super().__init__()
        self._rank, self._count = rank, count

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def world_size(self) -> int:
        return self._count

    def global_rank(self) -> int:
        return self._rank

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0


def _work(rank: int, mouth: Connection, work: bytes) -> None:
    """Run the training in a process of the team."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        end_with_parent(signal.SIGKILL, parent=parent.pid)
    # Ctrl-C reaches the whole process group, but only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(kind: str, *values: Any) -> None:
        mouth.send_bytes(pickle.dumps((kind, values)))

    try:
        job, hardware, port, threads = pickle.loads(work)
        fabric = _join(rank, hardware, port=port)
        torch.set_num_threads(max(1, threads // hardware.devices))
        result = job(fabric, _audience(rank, tell))
        # Wait, since another process may still need this one.
        fabric.barrier()
        distributed.destroy_process_group()
        tell("done", result if rank == 0 else None)
    except Exception as error:
        tell("failed", _portable(error))


def _audience(rank: int, tell: Callable[..., None]) -> Audience:
    if rank:
        return Audience(lambda step, metrics: None, lambda n, note: None, lambda line: None)
    return Audience(
        lambda step, metrics: tell("log", step, dict(metrics)),
        lambda n, note: tell("advance", n, note),
        lambda line: tell("say", line),
    )


def _join(rank: int, hardware: HardwareParams, *, port: int) -> Fabric:
    """Connect to the other processes; collectives use the loopback interface."""
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", _LOOPBACK)
    kind, count = device_for(hardware.accelerator).type, hardware.devices
    distributed.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        store=TCPStore(_HOST, port, is_master=False),
        rank=rank,
        world_size=count,
        timeout=_TIMEOUT,
        device_id=torch.device(kind, rank) if kind == "cuda" else None,
    )
    strategy = DDPStrategy(cluster_environment=_Rank(rank, count), timeout=_TIMEOUT)
    fabric = Fabric(accelerator=kind, devices=count, strategy=strategy, precision=hardware.precision)
    fabric.launch()
    return fabric


def _portable(error: Exception) -> Exception:
    """Return the error with its traceback as a note; if it cannot be pickled, an error with the same message."""
    text = "".join(traceback.format_exception(error))
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = TrainingError(f"{type(error).__name__}: {error}")
    if not isinstance(copy, HsipipeError):
        copy.add_note(f"Raised in a process of the training:\n{text}")
    return cast(Exception, copy)
