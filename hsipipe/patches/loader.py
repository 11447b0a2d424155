"""Batches of patches as tensors, through torch's DataLoader, from any step on."""

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
"""Patch number and code of its symmetry."""
ALL = slice(None)
"""The whole of a batch."""


class PatchDataset(Dataset[Batch]):
    """The patches of a store. Its keys are (patch number, code), so that it needs no random state of its own.

    Args:
        path: The store, ``<split>.zarr``; each process opens it for itself.
        arrays: Which of its arrays.
    """

    def __init__(self, path: Path, arrays: Sequence[str]) -> None:
        self._patches = PatchArrays(path, arrays)

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, key: Key) -> Batch:
        return {name: values[0] for name, values in self.__getitems__([key]).items()}

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A batch, read at once: array name -> (B, band, y, x)."""
        indices, codes = zip(*keys, strict=True)
        return {name: torch.from_numpy(v) for name, v in self._patches.read(indices, codes=codes).items()}


class StepSampler(Sampler[list[Key]]):
    """The keys of the batches of steps ``first_step``, ``first_step + 1``, ...; endless where `steps` is None."""

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
            raise TypeError("The steps have no end; give their number.")
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
    """A loader of batches; the batch of a step depends on the seed and the step, not on the workers.

    Args:
        path: The store, ``<split>.zarr``.
        arrays: Which of its arrays.
        batch: Patches of a batch.
        seed: Of order and augmentation.
        first_step: Where to begin.
        steps: How many batches; None: without end.
        workers: Processes that read ahead; 0: this process reads. They end with this process, however it ends.
        augment: Flip and turn the patches.
        part: Which patches of each batch are read; the others are another process's.

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
        # A forked worker would inherit locks and threads of this process in whatever state they are.
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
        worker_init_fn=_end_with_parent,
        # Else the loader draws from the global generator, and a resumed training would go another way.
        generator=torch.Generator(),
    )


class StepBatches:
    """Batches by step: read in order, and anew from any step that does not follow the one before.

    Args:
        path: The store, ``<split>.zarr``.
        arrays: Which of its arrays.
        batch: Patches of a batch.
        seed: Of order and augmentation.
        workers: As in :func:`make_loader`.
        augment: Flip and turn the patches; not where an LR pixel sees one side more than the other.
    """

    def __init__(
        self, path: Path, arrays: Sequence[str], *, batch: int, seed: int, workers: int = 0, augment: bool = True
    ) -> None:
        self._path, self._arrays, self._batch, self._seed, self._workers = path, tuple(arrays), batch, seed, workers
        self._augment = augment
        self._next: tuple[int, slice] | None = None
        self._batches: Iterator[Batch] = iter(())

    def at(self, step: int, part: slice = ALL) -> Batch:
        """The batch of a step, or a part of it, turned at random unless it may not be."""
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


def _as_it_is(batch: Any) -> Any:  # torch's type has lists of samples in mind
    return batch


def _end_with_parent(worker: int) -> None:
    # Where the kernel cannot do it, torch's own watch of the parent is what remains, some seconds later.
    parent = multiprocessing.parent_process()
    if parent is not None:
        end_with_parent(signal.SIGKILL, parent=parent.pid)
