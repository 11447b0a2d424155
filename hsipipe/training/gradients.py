"""Bound each gradient by the gradients before it, so that one bad batch cannot destroy a network."""

import math
from collections.abc import Iterable

from torch import nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from hsipipe.training.state import Progress

CLIP = 2.0
"""Multiple of the usual gradient norm to which a longer gradient is shortened."""
SPIKE = 10.0
"""Multiple of the usual gradient norm above which a step is skipped."""
MAX_SKIPPED = 3
"""Spikes that are skipped in a row; the next one sets the usual norm."""
_MEMORY = 0.95
"""Decay of the mean of the logarithm of the norm; it follows a change within about 20 steps."""


def bound_gradients(parameters: Iterable[nn.Parameter], state: Progress) -> bool:
    """Shorten a gradient that is longer than usual; return False if the step must be skipped.

    The usual norm is the geometric mean over the last steps, since norms differ by orders of magnitude between methods
    and fall during a training. Equal gradients give equal decisions in all processes of a training.

    Args:
        parameters: Parameters with their gradients.
        state: Usual norm and counts of skipped steps; both are updated.
    """
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    total = get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
    norm = float(total)
    if not math.isfinite(norm):
        return _skip(state)
    if norm == 0.0:
        return True
    usual = norm if state.usual_norm is None else state.usual_norm
    if norm > SPIKE * usual:
        if state.skipped_in_a_row < MAX_SKIPPED:
            return _skip(state)
        usual = norm
    state.skipped_in_a_row = 0
    clip_grads_with_norm_(trained, CLIP * usual, total)
    state.usual_norm = math.exp(_MEMORY * math.log(usual) + (1 - _MEMORY) * math.log(norm))
    return True


def _skip(state: Progress) -> bool:
    state.skipped += 1
    state.skipped_in_a_row += 1
    return False


def is_broken(state: Progress) -> bool:
    """Return True if more gradients in a row were skipped than spikes can be: they are not finite."""
    return state.skipped_in_a_row > MAX_SKIPPED


def count_bad_loss(state: Progress) -> None:
    """Count a step that is skipped because its loss is not finite."""
    _skip(state)
