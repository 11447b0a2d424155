"""Load batches of patches as tensors through torch's DataLoader, starting at any optimizer step."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.patches.sampler import batch_samples
from hsipipe.processes import end_with_parent

Batch = dict[str, Tensor]
Key = tuple[int, int]
"""Patch number and code of its symmetry, see :func:`~hsipipe.patches.sampler.turn`."""
ALL = slice(None)
"""All patches of a batch."""


class PatchDataset(Dataset[Batch]):
    """Patches of a store by key (patch number, code); it needs no random state.

    Args:
        path: Patch store, ``<split>.zarr``; each process opens it separately.
        arrays: Names of the arrays to read.
    """

    def __init__(self, path: Path, arrays: Sequence[str]) -> None:
        self._patches = PatchArrays(path, arrays)

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, key: Key) -> Batch:
        return {name: values[0] for name, values in self.__getitems__([key]).items()}

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """Read a batch at once: array name -> (B, band, y, x)."""
        indices, codes = zip(*keys, strict=True)
        return {name: torch.from_numpy(v) for name, v in self._patches.read(indices, codes=codes).items()}


class StepSampler(Sampler[list[Key]]):
    """Yields the keys of the batches of steps ``first_step``, ``first_step + 1``, ...; endless if `steps` is None."""

    def __init__(
        self,
        n: int,
        batch: int,
        *,
        seed: int,
        first_step: int = 0,
        steps: int | None = None,
        augment: bool = True,
        part: slice = ALL,
    ) -> None:
        self._n, self._batch, self._seed, self._augment, self._part = n, batch, seed, augment, part
        self._first, self._steps = first_step, steps

    def __iter__(self) -> Iterator[list[Key]]:
        endless = count(self._first)
        for step in endless if self._steps is None else islice(endless, self._steps):
            samples = batch_samples(self._n, self._batch, seed=self._seed, step=step)
            codes = samples.code.tolist() if self._augment else [0] * self._batch
            yield list(zip(samples.index.tolist(), codes, strict=True))[self._part]

    def __len__(self) -> int:
        if self._steps is None:
            raise TypeError("The number of steps is unlimited; set steps.")
        return self._steps


def make_loader(
    path: Path,
    arrays: Sequence[str],
    *,
    batch: int,
    seed: int,
    first_step: int = 0,
    steps: int | None = None,
    workers: int = 0,
    augment: bool = True,
    part: slice = ALL,
) -> DataLoader[Batch]:
    """Make a loader of batches. The batch of a step depends on the seed and the step, not on the workers.

    Args:
        path: Patch store, ``<split>.zarr``.
        arrays: Names of the arrays to read.
        batch: Number of patches in a batch.
        seed: Seed of order and augmentation.
        first_step: First optimizer step.
        steps: Number of batches; None: unlimited.
        workers: Number of processes that read ahead; 0: read in this process. They end with this process, even if it
            is killed.
        augment: Flip and transpose the patches at random.
        part: Patches of each batch to read; other processes read the rest.

    Returns:
        Yields array name -> (B, band, y, x), contiguous.
    """
    dataset = PatchDataset(path, arrays)
    sampler = StepSampler(
        len(dataset), batch, seed=seed, first_step=first_step, steps=steps, augment=augment, part=part
    )
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=_as_it_is,
        num_workers=workers,
        # A forked worker would inherit locks that other threads of this process hold.
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
        worker_init_fn=_end_with_parent,
        # By default the loader draws from the global generator, which would make a resumed training differ.
        generator=torch.Generator(),
    )


class StepBatches:
    """Batches by optimizer step: read ahead in order, restarted at a step that does not follow the previous one.

    Args:
        path: Patch store, ``<split>.zarr``.
        arrays: Names of the arrays to read.
        batch: Number of patches in a batch.
        seed: Seed of order and augmentation.
        workers: As in :func:`make_loader`.
        augment: Flip and transpose the patches at random; False for an asymmetric PSF.
    """

    def __init__(
        self, path: Path, arrays: Sequence[str], *, batch: int, seed: int, workers: int = 0, augment: bool = True
    ) -> None:
        self._path, self._arrays, self._batch, self._seed, self._workers = path, tuple(arrays), batch, seed, workers
        self._augment = augment
        self._next: tuple[int, slice] | None = None
        self._batches: Iterator[Batch] = iter(())

    def at(self, step: int, part: slice = ALL) -> Batch:
        """Return the batch of a step or a part of it: array name -> (B, band, y, x)."""
        if (step, part) != self._next:
            loader = make_loader(
                self._path,
                self._arrays,
                batch=self._batch,
                seed=self._seed,
                first_step=step,
                workers=self._workers,
                augment=self._augment,
                part=part,
            )
            self._batches = iter(loader)
        self._next = (step + 1, part)
        return next(self._batches)


def _as_it_is(batch: Any) -> Any:  # torch types this argument as a list of samples
    return batch


def _end_with_parent(worker: int) -> None:
    # On other systems than Linux, torch notices the end of the parent a few seconds later.
    parent = multiprocessing.parent_process()
    if parent is not None:
        end_with_parent(signal.SIGKILL, parent=parent.pid)
