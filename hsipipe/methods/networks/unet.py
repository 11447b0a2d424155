"""The denoising U-Net of SR3 (arXiv 2104.07636, appendix A), optionally on unshuffled pixels."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.params import UnetParams

NORM_GROUPS = 32


class NoiseLevelEmbedding(nn.Module):
    """Sinusoids of the noise level and an MLP (arXiv 2009.00713, section 3.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(self, level: Tensor) -> Tensor:
        """Map square roots of gamma (B,) in [0, 1] to (B, width)."""
        half = self.width // 2
        index = torch.arange(half, device=level.device, dtype=torch.float32) / half
        # The factor 5000 spreads [0, 1] over the range that the sinusoids resolve, as in WaveGrad.
        angle = 5000 * level[:, None].float() * torch.exp(-math.log(1e4) * index)
        embedding: Tensor = self.mlp(torch.cat([angle.sin(), angle.cos()], dim=1))
        return embedding


def _norm(kind: str, width: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(NORM_GROUPS, width), width) if kind == "group" else nn.Identity()


class ResidualBlock(nn.Module):
    """Norm, Swish, convolution, noise level added, norm, Swish, dropout, convolution, skip."""

    def __init__(self, inputs: int, outputs: int, *, embedding: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(_norm(norm, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.level = nn.Linear(embedding, outputs)
        self.second = nn.Sequential(
            _norm(norm, outputs), nn.SiLU(), nn.Dropout(dropout), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        if norm == "none":
            # Without normalisation a deep stack stays stable only if each block starts as the identity.
            nn.init.zeros_(self.second[-1].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.second[-1].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, inputs, H, W) and (B, E) to (B, outputs, H, W)."""
        hidden = self.first(x) + self.level(embedding)[:, :, None, None]
        result: Tensor = self.skip(x) + self.second(hidden)
        return result


class SelfAttention(nn.Module):
    """Single-head attention over all pixels of a feature map."""

    def __init__(self, width: int, *, norm: str) -> None:
        super().__init__()
        self.norm = _norm(norm, width)
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to (B, F, H, W)."""
        batch, width, height, breadth = x.shape
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        mixed = F.scaled_dot_product_attention(q, k, v)
        result: Tensor = x + self.out(mixed.transpose(1, 2).reshape(batch, width, height, breadth))
        return result


class _Stage(nn.Module):
    """A residual block, followed by attention where the level has it."""

    def __init__(self, block: ResidualBlock, attention: SelfAttention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x)


class Unet(nn.Module):
    """Predicts the target from noisy image, condition and noise level.

    Args:
        channels: Channels of the noisy image and of the output.
        params: Sizes; see :class:`hsipipe.params.UnetParams`.
        patch: Edge of a training patch in pixels; determines the levels at which the feature map sizes of
            `params.attention` occur.
        condition_channels: Channels of the condition, by default the same number. With an interpolated LR-HSI and an
            HR-MSI as condition this is the network of DDPM-Fus (arXiv 2307.03423).
    """

    def __init__(self, channels: int, params: UnetParams, *, patch: int, condition_channels: int | None = None) -> None:
        super().__init__()
        self.channels, self.params, self.patch = channels, params, patch
        self.condition_channels = channels if condition_channels is None else condition_channels
        fold = params.unshuffle**2
        widths = [params.width * m for m in params.multipliers]
        attended = [patch // params.unshuffle // 2**level in params.attention for level in range(len(widths))]
        self.multiple = params.unshuffle * 2 ** (len(widths) - 1)
        self.embedding = NoiseLevelEmbedding(params.width)

        def stage(inputs: int, outputs: int, attention: bool) -> _Stage:
            block = ResidualBlock(inputs, outputs, embedding=params.width, norm=params.norm, dropout=params.dropout)
            return _Stage(block, SelfAttention(outputs, norm=params.norm) if attention else None)

        self.head = nn.Conv2d((channels + self.condition_channels) * fold, params.width, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        width, skips = params.width, [params.width]
        for level, target in enumerate(widths):
            stages = nn.ModuleList()
            for _ in range(params.blocks):
                stages.append(stage(width, target, attended[level]))
                width = target
                skips.append(width)
            self.down.append(stages)
            if level < len(widths) - 1:
                self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        self.middle = nn.ModuleList([stage(width, width, bool(params.attention)), stage(width, width, False)])
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(widths))):
            stages = nn.ModuleList()
            for _ in range(params.blocks + 1):
                stages.append(stage(width + skips.pop(), widths[level], attended[level]))
                width = widths[level]
            self.up.append(stages)
            if level:
                self.grow.append(nn.Conv2d(width, width, 3, padding=1))
        self.tail = nn.Sequential(_norm(params.norm, width), nn.SiLU(), nn.Conv2d(width, channels * fold, 3, padding=1))

    def config(self) -> dict[str, Any]:
        """Return the configuration from which :meth:`from_config` builds the same module."""
        return {
            "channels": self.channels,
            "params": self.params.model_dump(mode="json"),
            "patch": self.patch,
            "condition_channels": self.condition_channels,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Unet":
        """Build a network without trained weights."""
        params = UnetParams.model_validate(config["params"])
        channels = int(config["channels"])
        # In checkpoints without this key, the condition has as many channels as the noisy image.
        condition = int(config.get("condition_channels", channels))
        return cls(channels, params, patch=int(config["patch"]), condition_channels=condition)

    def forward(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """Predict the target.

        Args:
            noisy: (B, channels, H, W).
            condition: (B, condition_channels, H, W).
            level: (B,) square root of gamma.

        Returns:
            (B, channels, H, W).
        """
        height, width = noisy.shape[2:]
        x = torch.cat([noisy, condition], dim=1)
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        x = self.head(F.pixel_unshuffle(x, self.params.unshuffle))
        embedding = self.embedding(level)
        skips = [x]
        for index, stages in enumerate(self.down):
            for stage in _modules(stages):
                x = stage(x, embedding)
                skips.append(x)
            if index < len(self.shrink):
                x = self.shrink[index](x)
                skips.append(x)
        for stage in self.middle:
            x = stage(x, embedding)
        for index, stages in enumerate(self.up):
            for stage in _modules(stages):
                x = stage(torch.cat([x, skips.pop()], dim=1), embedding)
            if index < len(self.grow):
                x = self.grow[index](F.interpolate(x, scale_factor=2.0, mode="nearest"))
        x = F.pixel_shuffle(self.tail(x), self.params.unshuffle)
        return x[:, :, :height, :width]


def _modules(stages: nn.Module) -> Sequence[nn.Module]:
    return list(stages.children())
