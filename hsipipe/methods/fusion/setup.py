"""What a model of an image pair was made for, what its network does, and what that is told of a pair."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import PairObservation
from hsipipe.diffusion.targets import Target
from hsipipe.methods.fusion.subspace import Subspace

Objective = Literal["diffusion", "regression"]


@dataclass(frozen=True)
class Pairing:
    """The sensors that a model was trained for.

    Attributes:
        bands: Bands C of the HSI.
        msi_bands: Bands c of the MSI.
        scale: Ratio s of their pixel sizes.
        psf: Of the HSI's sensor, on the grid of the MSI.
        response: Which spectral response a prediction works with: the one that the model holds, or one estimated
            from each scene's own pair.
    """

    bands: int
    msi_bands: int
    scale: int
    psf: Psf
    response: Literal["given", "estimated"] = "given"


@dataclass(frozen=True)
class Denoising:
    """What a network does, apart from what it is made of.

    Attributes:
        objective: `regression` is the control: one evaluation on zeros instead of noise, which gives x_0.
        schedule: Name of the noise schedule.
        steps: T.
        target: What the network predicts.
        scale_input: Multiply the noisy image by sqrt(gamma), its share of signal, before the network sees it.
    """

    objective: Objective
    schedule: str
    steps: int
    target: Target
    scale_input: bool


class Scene(NamedTuple):
    """What is learnt of whole scenes: the response (c, C), the gain of its bands (B, C, c), the spectra's subspace."""

    response: Tensor
    gain: Tensor
    subspace: Subspace


@dataclass(frozen=True, eq=False)
class Given:
    """What a network is conditioned on, and what turns its x_0 into a cube.

    Attributes:
        pair: The two images.
        start: The cube (B, C, H, W) that an x_0 of zeros would stand for, or what the network starts from.
        condition: (B, k, H, W).
        subspace: Of the scenes' spectra.
    """

    pair: PairObservation
    start: Tensor
    condition: Tensor
    subspace: Subspace
