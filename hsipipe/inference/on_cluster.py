"""Predict a scene on the workers of a Dask cluster: the same windows, each written by the worker that predicts it.

A task is a square of shards without values. A worker gets the places of model and scene once, as a plugin, loads the
model at its first task, and writes each shard and its record itself. The scheduler repeats the tasks of a worker that
dies; the shards that it had recorded are skipped.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, cast
from uuid import uuid4

import xarray as xr
from distributed import Client, Worker, WorkerPlugin, as_completed, get_worker
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from hsipipe.errors import HsipipeError, ParamsError, UnreachableError, one_line
from hsipipe.formats import writer
from hsipipe.inference.msi_holes import PairedSource
from hsipipe.inference.plan import Box, Plan
from hsipipe.inference.run import WindowPrediction
from hsipipe.inference.source import SceneSource
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.progress import progress, without_progress
from hsipipe.storage.parallel import ADDRESS

GPU = "GPU"
"""Resource of a worker with a GPU: ``dask worker --resources GPU=1``."""
_TASKS = 4
"""Tasks for each thread of a worker at least, so that all finish at about the same time."""
Load = Callable[[str], SuperResolver]
"""Loads the model onto a torch device, in any process."""


def run_on_cluster(client: Client, work: WindowPrediction, load: Load, *, side_by_side: int) -> None:
    """Predict and write the missing shards on a cluster, with the bits of :meth:`WindowPrediction.run` on CPUs.

    Args:
        client: Client of the cluster.
        work: The prediction; its model stays here.
        load: Loads that model in a worker.
        side_by_side: Largest edge of a square in shards.

    Raises:
        UnreachableError: The scheduler does not answer any more.
        HsipipeError: A worker has another hsipipe, or a task has ended several workers; or an error of a task.
    """
    missing = work.sink.missing
    if not missing:
        return
    found = client.scheduler_info()["workers"].values()
    threads = sum(worker["nthreads"] for worker in found) or 1
    resources = {GPU: 1} if any(worker["resources"].get(GPU) for worker in found) else {}
    edge = _edge(work.plan, missing, most=side_by_side, tasks=_TASKS * threads)
    name = f"hsipipe-{uuid4().hex}"
    try:
        client.register_plugin(_Predictor(work, load, edge), name=name)
    except Exception as error:  # Dask raises no other type for an error of a worker
        raise HsipipeError(
            f"A worker cannot take the prediction: {one_line(error)}. Install the same hsipipe on all workers."
        ) from error
    try:
        tasks = [
            client.submit(partial(_predict, name, boxes), pure=False, resources=resources)
            for boxes in work.plan.blocks(missing, edge=edge)
        ]
        with progress("predict", len(missing)) as advance:
            for task in as_completed(tasks, loop=client.loop):
                advance(task.result())
    except KilledWorker as error:
        raise HsipipeError(
            f"A part of the scene has ended {error.allowed_failures + 1} workers, perhaps for want of memory; give "
            "them more (--memory-limit), or smaller tiles (--tile), then run the same command again."
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise UnreachableError(
            f"The Dask scheduler does not answer any more ({one_line(error)}); run the same command again when it "
            "does. It writes the missing windows."
        ) from error
    finally:
        _forget(client, name)


def check_shareable(cube: xr.DataArray, targets: Sequence[Path]) -> None:
    """Check that several processes can read the input and write the results.

    Raises:
        ParamsError: They cannot.
    """
    remedy = f"or unset {ADDRESS} to work on this machine alone"
    if cube.chunks is None:
        raise ParamsError(
            "The format of the input is read whole, which a cluster would send to each worker; convert it to .nc, "
            f".zarr, .tif or ENVI, {remedy}."
        )
    for target in targets:
        form = writer(target)
        if form.writes_regions and not form.is_folder:  # neighbours share pages, and machines do not see each other's
            raise ParamsError(
                f"{target.name} is one file, which several machines cannot write at the same time; choose .zarr, .tif "
                f"or .nc, {remedy}."
            )


def memory_of_thread(client: Client) -> int | None:
    """Return the least memory in bytes of a thread of a worker; None: no worker states a limit."""
    found = client.scheduler_info()["workers"].values()
    limits = [worker["memory_limit"] // worker["nthreads"] for worker in found if worker["memory_limit"]]
    return min(limits, default=None)


class _Predictor(WorkerPlugin):
    """Holds model and scene in a worker."""

    def __init__(self, work: WindowPrediction, load: Load, edge: int) -> None:
        parts = {field.name: getattr(work, field.name) for field in fields(work) if field.name != "model"}
        shared = {"source": _shared(work.source), "msi": work.msi and _shared(work.msi), "sink": work.sink.shared()}
        self._parts: dict[str, Any] = {**parts, **shared}
        self._load, self._edge = load, edge

    def setup(self, worker: Worker) -> None:
        """Choose the device; the model is loaded by the first task, whose error reaches the user."""
        self._device = "cuda" if worker.state.total_resources.get(GPU) else "cpu"
        self._lock, self._loaded = Lock(), None  # type: tuple[Lock, tuple[WindowPrediction, SuperResolver] | None]

    def predict(self, boxes: Sequence[Box]) -> int:
        """Predict and write the shards that are missing; return how many `boxes` there are."""
        with without_progress():
            with self._lock:
                if self._loaded is None:
                    work = WindowPrediction(self._load(self._device), **self._parts)
                    self._loaded = work, work.bound()
            work, bound = self._loaded
            missing = work.sink.missing.intersection(boxes)
            work.take(list(work.plan.steps(missing, side_by_side=self._edge)), bound)
        return len(boxes)


def _predict(name: str, boxes: Sequence[Box]) -> int:
    return cast(_Predictor, get_worker().plugins[name]).predict(boxes)


def _edge(plan: Plan, missing: Collection[Box], *, most: int, tasks: int) -> int:
    """Choose the edge of a square of shards: the largest that gives as many tasks."""
    fitting = [edge for edge in range(2, most + 1) if len(plan.blocks(missing, edge=edge)) >= tasks]
    return max(fitting, default=1)


def _shared(source: SceneSource) -> SceneSource:
    """Return a source to be read by other processes, without the coordinates of its pixels."""
    cube = source.cube.reset_coords(drop=True).drop_vars(source.cube.dims, errors="ignore")
    if isinstance(source, PairedSource):
        return replace(source, cube=cube, lr=_shared(source.lr))
    return replace(source, cube=cube)


def _forget(client: Client, name: str) -> None:
    """Free the model in the workers, if they can still be reached."""
    try:
        client.unregister_worker_plugin(name)
    except (OSError, ValueError, CancelledError):
        return
