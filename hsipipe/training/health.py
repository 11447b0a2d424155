"""Recognise a training that has collapsed, by its history alone, so that a resumed training decides the same."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

MAX_RESTARTS = 2
"""Restarts from the best step, each with half the learning rate."""
LOSS, DEAD = "loss", "dead_layers"
"""Columns of the history: mean loss since the validation before; layers of which no unit reacts to the input."""
_GAIN = 0.1
"""Smallest gain over the start, in dB, that counts as one."""
_KEPT = 0.25
"""Share of the gain below which a validation counts as back at the start."""
_LEAST_VALIDATIONS = 3
"""Validations that must have found nothing better than a gain that does not count."""
_LEARNED, _FORGOT = 0.9, 0.98
"""Share of the first loss below which a training has learned, and above which it has forgotten that."""
_REACTS = 1e-6
"""Smallest deviation of a unit that reacts, relative to the largest one of its layer's start."""

Row = Mapping[str, float]


def collapse(rows: Sequence[Row], *, steps: int) -> str | None:
    """Return why a training has collapsed, or None.

    It has collapsed if its last validation has lost what was gained over the start; if that is below the best and the
    mean loss is back at its first value; if a layer has died; or if half of the steps, and three validations, found
    nothing better than the start, or than a gain of less than 0.1 dB.

    Args:
        rows: History since the start: ``step``, the validation metric in dB, and from the second row on `LOSS` and
            `DEAD`.
        steps: Steps of the whole training.
    """
    if len(rows) < 2:
        return None
    values = [_value(row) for row in rows]
    start, last, best = values[0], values[-1], max((v for v in values if math.isfinite(v)), default=math.nan)
    if math.isfinite(start) and best - start >= _GAIN and last < start + _KEPT * (best - start):
        return f"the validation fell from {best:.4g} to {last:.4g}, the start had {start:.4g}"
    losses = [row[LOSS] for row in rows if LOSS in row]
    # Losses depend on the patches of the batches, so that a rise alone says little.
    if len(losses) > 1 and last < best and min(losses) < _LEARNED * losses[0] and losses[-1] > _FORGOT * losses[0]:
        return f"the loss rose from {min(losses):.4g} to {losses[-1]:.4g}, at first it was {losses[0]:.4g}"
    if rows[-1].get(DEAD, 0) > rows[0].get(DEAD, 0):
        return "a layer no longer reacts to its input"
    return _standstill(rows, values, best, steps=steps)


def _standstill(rows: Sequence[Row], values: Sequence[float], best: float, *, steps: int) -> str | None:
    start = values[0]
    if not best - start < _GAIN:  # also where one is NaN
        return None
    at = values.index(best)
    if len(rows) - 1 - at < _LEAST_VALIDATIONS or 2 * (rows[-1]["step"] - rows[at]["step"]) < steps:
        return None
    if at == 0:
        return f"no validation was above that of the start ({start:.4g})"
    return f"no validation was above that of step {rows[at]['step']:g} ({best:.4g}), the start had {start:.4g}"


def has_finite_end(rows: Sequence[Row]) -> bool:
    """Return False if the last validation is not finite."""
    return not rows or math.isfinite(_value(rows[-1]))


def _value(row: Row) -> float:
    """Return the validation metric, the first column that starts with ``val_``."""
    return next(value for name, value in row.items() if name.startswith("val_"))


class DeadLayers:
    """Count the activation layers of which no unit reacts to the input, over the images of a validation.

    A unit reacts if its output varies over the pixels of an image. After an activation such as ReLU or SiLU, a layer
    whose units all have large negative inputs gives the same output for each image, and passes no gradient on.

    Args:
        module: The network.
    """

    _KINDS = (nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.ELU, nn.Softplus)

    def __init__(self, module: nn.Module) -> None:
        self._alive: dict[int, bool] = {}
        layers = [layer for layer in module.modules() if isinstance(layer, self._KINDS)]
        self._handles = [layer.register_forward_hook(self._look) for layer in layers]

    def __enter__(self) -> "DeadLayers":
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def count(self) -> int:
        """Number of dead layers so far."""
        return sum(not alive for alive in self._alive.values())

    def _look(self, layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        # Layers without pixels, such as those of an embedding, have the same input for every image.
        if output.dim() != 4 or output.shape[2] * output.shape[3] == 1 or self._alive.get(id(layer), False):
            return
        reacts = bool((torch.var(output.float(), dim=(2, 3)) > _REACTS**2).any())
        self._alive[id(layer)] = reacts
