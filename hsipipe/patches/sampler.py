"""Compute order and augmentation of the patches from the seed and the optimizer step.

Training that resumes at step k gets the same batch as without interruption, without replaying earlier steps.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import DataError

SYMMETRIES = 8
# Independent random streams of one seed.
_ORDER, _AUGMENT = 0, 1


@dataclass(frozen=True)
class Samples:
    """Patches of a batch.

    Attributes:
        index: Patch numbers (B,).
        epoch: Epoch of each patch (B,); a batch may extend into the next epoch.
        code: Symmetry of the square applied to each patch (B,), see
            :func:`hsipipe.artifacts.patch_arrays.turn`; depends only on the seed, the epoch
            and the patch number.
    """

    index: NDArray[np.int64]
    epoch: NDArray[np.int64]
    code: NDArray[np.uint8]


def batch_samples(n: int, batch: int, *, seed: int, step: int) -> Samples:
    """Draw the batch of a step.

    The batches of consecutive steps form a random permutation of ``0:n`` per epoch: position p of the stream is
    ``permutation(seed, p // n)[p % n]``.

    Raises:
        DataError: `n` or `batch` is less than 1, or `step` is negative.
    """
    if n < 1 or batch < 1 or step < 0:
        raise DataError(
            f"A batch needs n and batch of at least 1 and step of at least 0, got n={n}, batch={batch}, step={step}."
        )
    epoch, offset = np.divmod(np.arange(step * batch, (step + 1) * batch, dtype=np.int64), n)
    index = np.empty(batch, dtype=np.int64)
    code = np.empty(batch, dtype=np.uint8)
    for number in np.unique(epoch).tolist():
        inside = epoch == number
        index[inside] = _permutation(n, seed, number)[offset[inside]]
        code[inside] = _codes(n, seed, number)[index[inside]]
    return Samples(index, epoch, code)


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    order = np.random.default_rng([_ORDER, seed, epoch]).permutation(n)
    order.setflags(write=False)
    return order


@lru_cache(maxsize=4)
def _codes(n: int, seed: int, epoch: int) -> NDArray[np.uint8]:
    """Draw the code of every patch; the code of a patch does not depend on n."""
    codes = np.random.default_rng([_AUGMENT, seed, epoch]).integers(0, SYMMETRIES, size=n, dtype=np.uint8)
    codes.setflags(write=False)
    return codes
