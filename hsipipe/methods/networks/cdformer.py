"""The conditional denoising transformer of HSR-Diff (arXiv 2306.12085, section 3.2)."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from hsipipe.methods.networks.attention import NoiseConditionedLayer, SpatialSpectralLayer
from hsipipe.methods.networks.unet import NoiseLevelEmbedding
from hsipipe.params import CdformerParams

_QUIET = 0.01
"""Factor on the initial weights of the reconstruction."""


class Cdformer(nn.Module):
    """CDFormer: a super-resolution stream on both inputs, and a denoising stream that attends to it level by level.

    Neither stream reduces the resolution. The paper gives a width of 256 and 31.56 M parameters; 4 levels of 6 layers
    with 8 heads, windows of 8 pixels and an expansion of 2.66 have 31.8 M for 31 + 3 bands. The paper leaves the
    following open, or describes it only briefly; the choices here are:

    - The residual of the reconstruction is relative to the interpolated LR-HSI in the condition. The HR-HSI must
      therefore have the same unit and normalisation.
    - Sinusoids of sqrt(gamma) and an MLP embed the noise level, as in SR3, where eq. 7 has sinusoids of gamma alone;
      the linear layer of each level follows.
    - Kaiming initialisation with a gain of 1, since only one of the layers is followed by a rectifier.
    - The initial weights of the reconstruction are a hundred times smaller, so that training starts close to the
      interpolated LR-HSI instead of noise of many times its contrast. They are not zero, so that all layers learn from
      the first step.

    Every output pixel depends weakly on the whole image, since the scores of the spectral attention use all pixels.

    Args:
        bands: Bands C of the LR-HSI and the HR-HSI.
        msi_bands: Bands c of the HR-MSI.
        params: Sizes; see :class:`hsipipe.params.CdformerParams`.
    """

    def __init__(self, bands: int, msi_bands: int, params: CdformerParams) -> None:
        super().__init__()
        self.bands, self.msi_bands, self.params = bands, msi_bands, params
        self.condition_head = nn.Conv2d(bands + msi_bands, params.width, 3, padding=1)
        self.noisy_head = nn.Conv2d(bands, params.width, 3, padding=1)
        self.embedding = NoiseLevelEmbedding(params.width)
        self.super_resolution = nn.ModuleList(
            nn.Sequential(*(SpatialSpectralLayer(params, shifted=index % 2 == 1) for index in range(params.layers)))
            for _ in range(params.levels)
        )
        self.denoising = nn.ModuleList(
            NoiseConditionedLayer(params, shifted=index % 2 == 1) for index in range(params.levels)
        )
        self.reconstruction = nn.Conv2d(params.width, bands, 3, padding=1)
        self.apply(_kaiming)
        self.reconstruction.weight.data.mul_(_QUIET)

    def config(self) -> dict[str, Any]:
        """Return the configuration from which :meth:`from_config` builds the same module."""
        return {"bands": self.bands, "msi_bands": self.msi_bands, "params": self.params.model_dump(mode="json")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Cdformer":
        """Build a network without trained weights."""
        params = CdformerParams.model_validate(config["params"])
        return cls(int(config["bands"]), int(config["msi_bands"]), params)

    def train_levels(self, kind: Literal["all", "second_half"]) -> None:
        """Select the weights to train, as in the progressive training of the paper.

        Args:
            kind: `second_half` freezes the first half of the levels of both streams and all layers before them: the
                convolutions of the inputs and the embedding of the noise level. For an odd number of levels, the middle
                one is trained.
        """
        self.requires_grad_(kind == "all")
        first = self.params.levels // 2
        for module in (*self.super_resolution[first:], *self.denoising[first:], self.reconstruction):
            module.requires_grad_(True)

    def condition_features(self, condition: Tensor) -> list[Tensor]:
        """Compute the features F_SR of each level, (B, H, W, F), once per sampling: they do not depend on the noise.

        Args:
            condition: (B, C + c, H, W).
        """
        x = self.condition_head(condition).permute(0, 2, 3, 1)
        features = []
        for level in self.super_resolution:
            x = level(x)
            features.append(x)
        return features

    def forward(
        self, noisy: Tensor, condition: Tensor, level: Tensor, *, features: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Predict the HR-HSI.

        Args:
            noisy: Z_t, (B, C, H, W).
            condition: LR-HSI interpolated to H x W, then the HR-MSI, (B, C + c, H, W).
            level: (B,) square root of gamma.
            features: Result of :meth:`condition_features` for this condition; computed if None.

        Returns:
            (B, C, H, W).
        """
        if features is None:
            features = self.condition_features(condition)
        embedding = self.embedding(level)
        x = self.noisy_head(noisy).permute(0, 2, 3, 1)
        for layer, context in zip(self.denoising, features, strict=True):
            x = layer(x, context, embedding)
        result: Tensor = condition[:, : self.bands] + self.reconstruction(x.permute(0, 3, 1, 2))
        return result


def _kaiming(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
