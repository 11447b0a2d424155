"""The order of the patches and their augmentation: counters in, numbers out.

Training that resumes at step k asks for step k and gets the same batch, without replaying what came before.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import DataError

SYMMETRIES = 8
# Streams of one seed that must not be correlated.
_ORDER, _AUGMENT = 0, 1


@dataclass(frozen=True)
class Samples:
    """The patches of a batch.

    Attributes:
        index: Patch numbers (B,).
        epoch: In which epoch each is drawn (B,); a batch may reach into the next one.
        code: Which symmetry of the square each is turned by (B,), see
            :func:`hsipipe.artifacts.patch_arrays.turn`; it depends on the seed, the epoch and the patch number alone.
    """

    index: NDArray[np.int64]
    epoch: NDArray[np.int64]
    code: NDArray[np.uint8]


def batch_samples(n: int, batch: int, *, seed: int, step: int) -> Samples:
    """The batch of a step.

    The batches of all steps, one after another, are a random permutation of ``0:n`` per epoch: position p of
    the stream is ``permutation(seed, p // n)[p % n]``.

    Raises:
        DataError: There are no patches.
    """
    if n < 1 or batch < 1 or step < 0:
        raise DataError(f"A batch needs patches: got n={n}, batch={batch}, step={step}.")
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
    """The code of every patch; that of a patch is the same whatever n is."""
    codes = np.random.default_rng([_AUGMENT, seed, epoch]).integers(0, SYMMETRIES, size=n, dtype=np.uint8)
    codes.setflags(write=False)
    return codes
