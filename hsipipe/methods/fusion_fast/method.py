"""fusion-fast: few-step diffusion from a guided interpolation, in a whitened subspace estimated from the LR-HSI."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from hsipipe.diffusion.consistency import PairObservation
from hsipipe.errors import ParamsError
from hsipipe.methods.base import Ceiling
from hsipipe.methods.fusion.guided_filter import guided_upsample
from hsipipe.methods.fusion.losses import projected_loss
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.fusion.setup import Denoising, Estimate, FusionSettings, Given, Pairing
from hsipipe.methods.fusion.subspace import Subspace
from hsipipe.methods.networks.unet import NoiseLevelEmbedding
from hsipipe.params import LossParams, Positive
from hsipipe.patches.sample import mask_of, pixels_of


class FusionFastSettings(FusionSettings):
    """Sizes and training of fusion-fast."""

    components: Positive
    """Directions L of the spectral subspace that is estimated from the LR-HSI; limited by the number of bands."""
    windows: Annotated[list[Positive], Field(min_length=1)]
    """Radii in LR pixels of the windows for regressing the LR-HSI on the HR-MSI; the first gives the starting point."""
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    """Features of the network."""
    blocks: Positive
    """Residual blocks of the network."""
    loss: LossParams


class _Block(nn.Module):
    """A depthwise 5x5 convolution, the noise level added, two pointwise layers, skip (arXiv 2201.03545, figure 4).

    Most of the computation is pointwise: the HR-MSI provides the spatial detail, and the network has to find the
    spectra. There is no normalisation, so that features do not depend on the rest of the tile.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.level = nn.Linear(width, width)
        self.wide = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(2 * width, width, 1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(cast(Tensor, self.narrow.bias))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.spatial(x) + self.level(embedding)[:, :, None, None]
        result: Tensor = x + self.narrow(F.gelu(self.wide(hidden)))
        return result


class FusionFast(FusionModel):
    """A few-step diffusion for any number of bands on either side.

    The LR-HSI is interpolated with the HR-MSI as guide and projected onto the cubes that are consistent with both
    observations. This is the starting point. x_0 is its residual in the subspace of the LR-HSI, in units of the
    standard deviations there; x_0 = 0 is the starting point. The condition is the starting point and its differences to
    interpolations with other windows and without a guide, in the same coordinates; large differences mark uncertain
    places. Since no channel corresponds to a band, the network accepts any sensor.

    Args:
        pairing: The sensors of the training; a prediction may use others.
        denoising: Task of the network; it predicts x_0.
        components: Directions L of the subspace.
        windows: Radii in LR pixels of the guided interpolations; the first gives the starting point.
        width: Features.
        blocks: Residual blocks.
        response: Spectral response (c, C) of the training pairs.
    """

    KIND: ClassVar[str] = "fusion-fast"
    DESCRIPTION: ClassVar[str] = "Few steps from a guided interpolation, in the spectral subspace of the LR-HSI."
    Settings = FusionFastSettings
    residual_std: Tensor

    def __init__(
        self,
        pairing: Pairing,
        denoising: Denoising,
        *,
        components: int,
        windows: list[int],
        width: int,
        blocks: int,
        response: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        super().__init__(pairing, denoising, channels=components, response=response)
        self.directions, self.windows, self.width, self.blocks = components, list(windows), width, blocks
        inputs = (2 + len(windows)) * components
        self.embedding = NoiseLevelEmbedding(width)
        self.head = nn.Conv2d(inputs, width, 3, padding=1)
        self.body = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.tail = nn.Conv2d(width, components, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(cast(Tensor, self.tail.bias))
        self.register_buffer("residual_std", torch.ones(components))

    @property
    def bands(self) -> int | None:
        """Any number."""
        return None

    @property
    def msi_bands(self) -> int | None:
        """Any number."""
        return None

    def net_config(self) -> dict[str, Any]:
        """Return the arguments of :meth:`build` in addition to the sensors and the denoising."""
        return {
            "components": self.directions,
            "windows": self.windows,
            "width": self.width,
            "blocks": self.blocks,
        }

    @classmethod
    def build(cls, pairing: Pairing, denoising: Denoising, net: dict[str, Any]) -> Self:
        """Build a model without trained weights."""
        return cls(pairing, denoising, **net)

    @property
    def components(self) -> int:
        """Directions of the subspace."""
        return self.directions

    def ceilings(self) -> Mapping[str, Ceiling]:
        """The starting point plus the true residual in the subspace: the prediction of a perfect network."""
        return {"subspace-ceiling": self.ceiling}

    def ceiling(self, lr: np.ndarray, msi: np.ndarray | None, hr: np.ndarray) -> np.ndarray:
        """Predict with the true x_0; needs the ground truth.

        Args:
            lr: (C, h, w).
            msi: (c, H, W).
            hr: (C, H, W).

        Returns:
            (C, H, W) float32.
        """
        with torch.inference_mode():
            given = self.given(self.tensor(lr), self.tensor(cast(np.ndarray, msi)))
            sr = self._finish(self.clean(self.tensor(hr), given), given)
        return sr[0].float().cpu().numpy()

    @classmethod
    def made_for(cls, pairing: Pairing, settings: Any, response: NDArray[np.float64], *, patch: int) -> Self:
        """Build a model with initial weights.

        Raises:
            ParamsError: A patch has too few LR pixels to estimate a subspace from.
        """
        edge, wanted = patch // pairing.scale, min(settings.components, pairing.bands)
        if edge**2 <= wanted:
            larger = (math.isqrt(wanted) + 1) * pairing.scale
            raise ParamsError(
                f"A patch has {edge} x {edge} LR pixels, too few to estimate a subspace of {wanted} directions from; "
                f"set patches.size to {larger} or more, or components of fusion-fast to less than {edge**2}."
            )
        own = settings.diffusion
        denoising = Denoising(settings.objective, own.schedule, own.steps, "x0", scale_input=True)
        sizes = {"components": settings.components, "width": settings.width, "blocks": settings.blocks}
        return cls(pairing, denoising, windows=settings.windows, response=response, **sizes)

    @torch.no_grad()
    def measure(self, sample: Mapping[str, NDArray[Any]]) -> None:
        """Measure the RMS residual of the starting point along each direction, the unit of x_0."""
        hr, lr, msi = (torch.from_numpy(sample[name]) for name in self.ARRAYS)
        powers, mask = [], mask_of(sample)
        for one in range(len(hr)):
            given = self.given(lr[one : one + 1], msi[one : one + 1])
            power = self.clean(hr[one : one + 1], given).square()
            own = None if mask is None else mask[one : one + 1]
            powers.append(power.mean(dim=(0, 2, 3)) if own is None else pixels_of(power, own).mean(dim=0))
        self.residual_std.copy_(torch.stack(powers).mean(dim=0).sqrt().clamp_min(1e-4))

    def distance(self, made: Estimate) -> Tensor:
        """Compute the loss between cubes, after and before the projection onto the observations."""
        return projected_loss(self.cube(made.x0, made.given), made, self.settings.loss)

    def condition(self, pair: PairObservation, subspace: Subspace) -> Given:
        """Compute the starting point, its coordinates, and its differences to the other interpolations."""
        up = pair.resampler.up(pair.lr)
        z_lr = subspace.whiten(pair.lr)
        coarse = pair.resampler.down(pair.msi)
        prior = torch.einsum("blc,bck->blk", subspace.basis, pair.gain) / subspace.std[..., None]
        # The part outside of the subspace is interpolated without a guide.
        rest = up - subspace.cube(pair.resampler.up(z_lr))
        guided = [
            pair.project(rest + subspace.cube(guided_upsample(z_lr, coarse, pair.msi, radius=radius, prior=prior)))
            for radius in self.windows
        ]
        start = guided[0]
        others = [subspace.whiten_difference(other - start) for other in [*guided[1:], pair.project(up)]]
        condition = torch.cat([subspace.whiten(start), *others], dim=1)
        if subspace.basis.shape[1] < self.directions:
            condition = _fill(condition, groups=1 + len(others), channels=self.directions)
        return Given(pair, start, condition, subspace)

    def clean(self, hr: Tensor, given: Given) -> Tensor:
        """Compute the residual of the starting point, in units of its RMS over the training patches."""
        z = given.subspace.whiten_difference(hr - given.start)
        return _fill(z, groups=1, channels=self.directions) / self.residual_std[:, None, None]

    def cube(self, x0: Tensor, given: Given) -> Tensor:
        """Add the residual x_0 to the starting point."""
        z = (x0 * self.residual_std[:, None, None])[:, : given.subspace.basis.shape[1]]
        return given.start + given.subspace.cube(z)

    def denoise(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """Apply head, blocks and tail, all on the HR grid."""
        embedding = self.embedding(level)
        x = self.head(torch.cat([noisy, condition], dim=1))
        for block in self.body:
            x = block(x, embedding)
        result: Tensor = self.tail(x)
        return result


def _fill(z: Tensor, *, groups: int, channels: int) -> Tensor:
    """Pad each group of channels with zeros for the directions that a sensor of few bands lacks."""
    parts = z.reshape(len(z), groups, -1, *z.shape[2:])
    return F.pad(parts, (0, 0, 0, 0, 0, channels - parts.shape[2])).flatten(1, 2)
