"""Estimate the memory of a prediction, and check that disk and memory suffice for its result before it begins."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import xarray as xr

from hsipipe.errors import ParamsError
from hsipipe.formats import check_sinks
from hsipipe.inference.guard import LARGEST
from hsipipe.inference.plan import Plan
from hsipipe.inference.run import WAITING
from hsipipe.inference.sink import chunk_shape
from hsipipe.memory import available_memory, check_memory
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.storage.space import size_text

_BYTES = 4
_COPIES_READ = 2
"""Copies of an input while it is scaled: as read, and divided by the full scale."""
_FIXED_BYTES = 192 << 20
"""Buffers of readers and writers; the most of any format as measured, that of Zarr's concurrent chunks."""


def prediction_bytes(
    lr: tuple[int, int, int], scale: int, *, images: int = 1, msi: tuple[int, ...] = (0,), working: int = 0
) -> int:
    """Estimate the memory of a prediction from file to file in bytes, without that of the model.

    `benchmarks/prediction_memory.py` compares it with the peaks of all output formats.

    Args:
        lr: Shape of the LR-HSI (C, h, w).
        scale: Ratio of the pixel sizes s.
        images: Number of results, 2 with the standard deviation of samples.
        msi: Shape of the HR-MSI (c, H, W).
        working: Bytes for each HR pixel while a method works on the whole scene.
    """
    pixels = lr[1] * lr[2] * scale**2
    # One more in the units of the file while a result is written; one band of weights while tiles are blended.
    fine = max((images + 1) * lr[0] + 1, -(-working // _BYTES)) * pixels
    return _BYTES * (fine + _COPIES_READ * (prod(lr) + prod(msi))) + _FIXED_BYTES


class Admission:
    """Admit the inputs of a prediction if its results fit on the disk and into the memory.

    An instance is called with each opened cube, the LR-HSI first, before its values are read.

    Args:
        targets: Files of the results.
        model: Model that predicts the scene.
        memory: Bytes that may be used; None: what is free.
    """

    def __init__(
        self, targets: Sequence[Path], *, model: SuperResolver | None = None, memory: int | None = None
    ) -> None:
        self._targets, self._model, self._memory = targets, model, memory
        self._lr: tuple[tuple[int, int, int], int] | None = None

    def __call__(self, cube: xr.DataArray, ratio: int) -> None:
        """Check one more input, whose sides grow by `ratio`.

        Raises:
            DataError: Disk or memory are too small, or a target cannot be written.
            ParamsError: It needs more than `memory`.
            FileFormatError: The format of a target cannot hold the result.
        """
        bands, height, width = (cube.sizes[dim] for dim in ("band", "y", "x"))
        msi: tuple[int, ...] = (0,)
        if self._lr is None:
            self._lr = ((bands, height, width), ratio)
            check_sinks(self._targets, (bands, height * ratio, width * ratio))
        else:
            msi = (bands, height, width)
        shape, scale = self._lr
        working = self._model.working_bytes(shape[0]) if isinstance(self._model, WholeSceneFusion) else 0
        need = prediction_bytes(shape, scale, images=len(self._targets), msi=msi, working=working)
        what, advice = f"A result of {shape[0]} x {shape[1] * scale} x {shape[2] * scale} values", "cut the scene"
        if self._model is not None and getattr(self._model, "WHOLE_SCENE", False):
            what += f" by {self._model.name}, which takes the whole scene,"
            advice += ", or take a method that predicts in windows"
        if self._memory is not None and need > self._memory:
            raise ParamsError(
                f"{what} needs about {size_text(need)} of memory, but --memory is {size_text(self._memory)}; give that "
                f"much, {advice}."
            )
        check_memory(need, what=what, advice=f"{advice}, or use a machine with more memory")


def window_bytes(
    plan: Plan,
    bands: int,
    scale: int,
    *,
    images: int = 1,
    results: int = 1,
    side_by_side: int,
    guarded: bool = True,
    msi_bands: int = 0,
    context: int = 0,
) -> int:
    """Estimate the memory of a prediction in windows in bytes, without that of the model.

    `benchmarks/scenes.py` compares it with the peak of a prediction.

    Args:
        plan: Tiles and shards of the scene.
        bands: Bands C.
        scale: Ratio of the pixel sizes s.
        images: Images that are blended, 2 with the standard deviation of samples.
        results: Files that are written.
        side_by_side: Number of columns of shards that are held at the same time.
        guarded: The prediction is judged.
        msi_bands: Bands c of the HR-MSI; 0 without one.
        context: LR pixels around a tile that are read with it.
    """
    rows, columns = plan.shard or (plan.height, plan.width)
    strip = min(plan.width, side_by_side * columns)
    pixel = _BYTES * bands * scale**2
    shard = rows * columns * pixel
    held = plan.rows_open() * strip * (images * pixel + _BYTES * scale**2)
    # Each that waits or is written has its images; the one that is written has its results, too, which are compressed.
    held += shard * ((WAITING + 1) * images + 2 * results + 1)
    # Tiles that are predicted, wait and are blended.
    held += (WAITING + 2) * images * min(plan.tile, plan.height) * min(plan.tile, plan.width) * pixel
    # One window is predicted, the next one waits, and a third one is being read, as it is stored and scaled.
    pair = (bands + msi_bands * scale**2) * _BYTES
    high, wide = plan.tile + 2 * context, strip + 2 * (plan.tile + context)
    held += 4 * min(high, plan.height) * min(wide, plan.width) * pair
    coarser = min(LARGEST, plan.height) * min(LARGEST, plan.width) * pair
    rewritten = 3 * chunk_shape(plan, bands=bands, scale=scale)[1] * plan.width * scale * bands * _BYTES
    return max(held, 3 * coarser if guarded else 0, rewritten) + _FIXED_BYTES


def strip_width(plan: Plan, bands: int, scale: int, *, memory: int | None, name: str = "--memory", **size: Any) -> int:
    """Choose how many columns of shards are held at the same time, as many as fit into the memory.

    Args:
        plan: Tiles and shards of the scene.
        bands: Bands C.
        scale: Ratio of the pixel sizes s.
        memory: Bytes that may be used; None: a quarter of what is free, or more if the least takes more.
        name: Name of `memory` in a message.
        size: Further arguments of :func:`window_bytes`.

    Raises:
        ParamsError: `memory` is less than a prediction in windows takes.
        DataError: The free memory is.
    """
    need = [window_bytes(plan, bands, scale, side_by_side=n, **size) for n in range(1, plan.shard_columns + 1)]
    budget = available_memory()[0] // 4 if memory is None else memory
    fitting = [number for number, nbytes in enumerate(need, start=1) if nbytes <= budget]
    if fitting:
        return fitting[-1]
    if memory is not None:
        raise ParamsError(
            f"{name} is {size_text(memory)}, but windows of this scene take at least {size_text(need[0])}; give "
            "that much, or smaller tiles (--tile)."
        )
    check_memory(
        need[0],
        what=f"A result of {bands} x {plan.height * scale} x {plan.width * scale} values",
        advice="use smaller tiles, or a machine with more memory",
    )
    return 1
