"""Check, while the inputs of a prediction are opened, that disk and memory suffice for its result."""

from collections.abc import Sequence
from math import prod
from pathlib import Path

import xarray as xr

from hsipipe.formats import check_sinks
from hsipipe.memory import check_memory

_BYTES = 4
_COPIES_READ = 2
"""Copies of an input while it is scaled: as read, and divided by the full scale."""
_FIXED_BYTES = 192 << 20
"""Buffers of readers and writers; the most of any format as measured, that of Zarr's concurrent chunks."""


def prediction_bytes(lr: tuple[int, int, int], scale: int, *, images: int = 1, msi: tuple[int, ...] = (0,)) -> int:
    """Estimate the memory of a prediction from file to file in bytes, without that of the model.

    `benchmarks/prediction_memory.py` compares it with the peaks of all output formats.

    Args:
        lr: Shape of the LR-HSI (C, h, w).
        scale: Ratio of the pixel sizes s.
        images: Number of results, 2 with the standard deviation of samples.
        msi: Shape of the HR-MSI (c, H, W).
    """
    pixels = lr[1] * lr[2] * scale**2
    # One more in the units of the file while a result is written; one band of weights while tiles are blended.
    fine = (images + 1) * lr[0] * pixels + pixels
    return _BYTES * (fine + _COPIES_READ * (prod(lr) + prod(msi))) + _FIXED_BYTES


class Admission:
    """Admit the inputs of a prediction if its results fit on the disk and into the memory.

    An instance is called with each opened cube, the LR-HSI first, before its values are read.

    Args:
        targets: Files of the results.
    """

    def __init__(self, targets: Sequence[Path]) -> None:
        self._targets = targets
        self._lr: tuple[tuple[int, int, int], int] | None = None

    def __call__(self, cube: xr.DataArray, ratio: int) -> None:
        """Check one more input, whose sides grow by `ratio`.

        Raises:
            DataError: Disk or memory are too small, or a target cannot be written.
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
        need = prediction_bytes(shape, scale, images=len(self._targets), msi=msi)
        check_memory(
            need,
            what=f"A result of {shape[0]} x {shape[1] * scale} x {shape[2] * scale} values",
            advice="cut the scene into parts, or use a machine with more memory",
        )
