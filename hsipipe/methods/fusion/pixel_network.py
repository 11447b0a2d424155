"""A perceptron of single pixels, fitted in a bounded number of steps."""

from copy import deepcopy
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.progress import progress

_BATCH = 1024
_RATE = 3e-3
_HELD = 5
"""One of so many pixels is not fitted to, but chooses the step of the network."""
_JUDGED_EVERY = 50


def fit_pixels(
    values: NDArray[np.float32], targets: NDArray[np.float32], *, width: int, layers: int, steps: int, seed: int
) -> nn.Module:
    """Fit a perceptron by the mean absolute error; keep the step that is best on pixels held out, or zero.

    Args:
        values: Inputs (n, k) of variance one.
        targets: Outputs (n, p), of mean zero.
        width: Features of a layer.
        layers: Hidden layers.
        steps: Optimizer steps.
        seed: Seed of the initial weights and of the batches.
    """
    inputs, wanted = torch.from_numpy(values), torch.from_numpy(targets)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), progress("fit", steps) as advance:
        torch.manual_seed(seed)
        network = _perceptron(values.shape[1], targets.shape[1], width=width, layers=layers)
        held, used = _divided(torch.randperm(len(inputs)))
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        best, weights = _error(network, inputs[held], wanted[held]).item(), deepcopy(network.state_dict())
        for step in range(1, steps + 1):
            chosen = used[torch.randint(len(used), (min(_BATCH, len(used)),))]
            optimizer.zero_grad()
            torch.autograd.backward(_error(network, inputs[chosen], wanted[chosen]))
            optimizer.step()
            schedule.step()
            if step % _JUDGED_EVERY == 0 or step == steps:
                error = _error(network, inputs[held], wanted[held]).item()
                if error < best:
                    best, weights = error, deepcopy(network.state_dict())
            advance()
        network.load_state_dict(weights)
    return network.requires_grad_(False).eval()


def apply_pixels(network: nn.Module, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply a network to pixels, (n, k) to (n, p)."""
    with torch.inference_mode():
        result: Tensor = network(torch.from_numpy(np.ascontiguousarray(values)))
    return result.numpy()


def _perceptron(inputs: int, outputs: int, *, width: int, layers: int) -> nn.Sequential:
    """Make a perceptron that begins at zero."""
    sizes = [inputs, *[width] * layers]
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.GELU())]
    last = nn.Linear(width, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(cast(Tensor, last.bias))
    return nn.Sequential(*hidden, last)


def _divided(order: Tensor) -> tuple[Tensor, Tensor]:
    """Divide pixels into those held out and those fitted to; a single pixel is both."""
    count = max(1, len(order) // _HELD)
    return order[:count], order[count:] if len(order) > 1 else order


def _error(network: nn.Module, inputs: Tensor, wanted: Tensor) -> Tensor:
    error: Tensor = (network(inputs) - wanted).abs().mean()
    return error
