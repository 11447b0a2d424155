"""The order of the patches and their augmentation: pure functions of (seed, step).

Training that resumes at step k asks for step k and gets the same batch, without replaying what came before.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import DataError

# Streams of one seed that must not be correlated.
_ORDER, _AUGMENT = 0, 1


def batch_indices(n: int, batch: int, *, seed: int, step: int) -> NDArray[np.int64]:
    """Patch numbers of a batch, (batch,).

    The batches of all steps, one after another, are a random permutation of ``0:n`` per epoch: position p of
    the stream is ``permutation(seed, p // n)[p % n]``. A batch may reach into the next epoch.

    Raises:
        DataError: There are no patches.
    """
    if n < 1 or batch < 1 or step < 0:
        raise DataError(f"A batch needs patches: got n={n}, batch={batch}, step={step}.")
    positions = np.arange(step * batch, (step + 1) * batch, dtype=np.int64)
    epochs, offsets = np.divmod(positions, n)
    out = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(epochs).tolist():
        inside = epochs == epoch
        out[inside] = _permutation(n, seed, epoch)[offsets[inside]]
    return out


def augmentation_codes(batch: int, *, seed: int, step: int) -> NDArray[np.int64]:
    """One of the eight symmetries of the square for each patch of a batch: bit 0 transposes, 1 flips y, 2 flips x."""
    return np.random.default_rng([_AUGMENT, seed, step]).integers(0, 8, size=batch)


def augment(arrays: Mapping[str, NDArray[Any]], *, seed: int, step: int) -> dict[str, NDArray[Any]]:
    """Flip and turn each patch of a batch, all arrays of a patch alike.

    Args:
        arrays: Name -> (B, ..., y, x) with square patches; HR and LR may differ in size.
        seed: Seed of the training.
        step: Step of the training.

    Returns:
        New arrays of the same shapes.
    """
    sizes = {len(values) for values in arrays.values()}
    if len(sizes) > 1:
        raise DataError(f"The arrays of a batch have the same number of patches, got {sorted(sizes)}.")
    codes = augmentation_codes(sizes.pop() if sizes else 0, seed=seed, step=step)
    out = {}
    for name, values in arrays.items():
        turned = np.empty_like(values)
        for position, code in enumerate(codes.tolist()):
            turned[position] = _turn(values[position], code)
        out[name] = turned
    return out


def _turn(patch: NDArray[Any], code: int) -> NDArray[Any]:
    if code & 1:
        patch = patch.swapaxes(-1, -2)
    if code & 2:
        patch = patch[..., ::-1, :]
    if code & 4:
        patch = patch[..., ::-1]
    return patch


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    order = np.random.default_rng([_ORDER, seed, epoch]).permutation(n)
    order.setflags(write=False)
    return order
