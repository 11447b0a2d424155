"""The forward process and the prediction targets of the network.

x_t = sqrt(gamma) x_0 + sqrt(1 - gamma) epsilon (arXiv 2306.12085, eq. 3; arXiv 2006.11239, eq. 4).
"""

from typing import Literal

from torch import Tensor

Target = Literal["x0", "epsilon", "v"]


def _like(gamma: Tensor, x: Tensor) -> Tensor:
    return gamma.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def diffuse(x0: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """Compute x_t from `x0` (B, ...) and `noise` of the same shape at `gamma` (B,)."""
    g = _like(gamma, x0)
    return g.sqrt() * x0 + (1 - g).sqrt() * noise


def training_target(target: Target, *, x0: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """Compute the training target of the network at `gamma` (B,).

    v = sqrt(gamma) epsilon - sqrt(1 - gamma) x_0 (arXiv 2202.00512, section 4).
    """
    if target == "v":
        g = _like(gamma, x0)
        return g.sqrt() * noise - (1 - g).sqrt() * x0
    return x0 if target == "x0" else noise


def to_x0(target: Target, prediction: Tensor, *, x_t: Tensor, gamma: Tensor) -> Tensor:
    """Convert a prediction of the network to x_0 at `gamma` (B,)."""
    if target == "x0":
        return prediction
    g = _like(gamma, x_t)
    if target == "v":
        return g.sqrt() * x_t - (1 - g).sqrt() * prediction
    return (x_t - (1 - g).sqrt() * prediction) / g.sqrt()


def to_noise(*, x0: Tensor, x_t: Tensor, gamma: Tensor) -> Tensor:
    """Compute the noise between `x0` and `x_t`; `gamma` (B,) is below 1."""
    g = _like(gamma, x_t)
    return (x_t - g.sqrt() * x0) / (1 - g).sqrt()
