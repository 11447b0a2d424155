"""Transformer layers of HSR-Diff (arXiv 2306.12085, section 3.2) on channels-last feature maps (B, H, W, F)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from hsipipe.params import CdformerParams


class WindowAttention(nn.Module):
    """Multi-head attention within windows: self-attention, or cross-attention to a context.

    The paper specifies neither the arrangement of the windows nor the position encoding. Here every other layer shifts
    the windows by half a window, and the depthwise convolutions of :class:`GatedFeedForward` encode positions. The
    attention thus needs no bias and can use its fast kernels.

    Args:
        width: Features F.
        heads: Heads, a divisor of the width.
        window: Edge of a window in pixels.
        shifted: Windows start half a window before the first pixel.
    """

    def __init__(self, width: int, *, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.shift = window // 2 if shifted else 0
        # No biases: a bias of the keys would shift all scores of a query equally, which softmax ignores.
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map (B, H, W, F) to (B, H, W, F); the context, by default `x` itself, has the same shape."""
        height, breadth = x.shape[1:3]
        padded = self._pad(x)
        query = self._heads(self.query(to_windows(padded, self.window)))
        source = padded if context is None else self._pad(context)
        key, value = self.key_value(to_windows(source, self.window)).chunk(2, dim=-1)
        mixed = F.scaled_dot_product_attention(query, self._heads(key), self._heads(value))
        merged = from_windows(mixed.transpose(1, 2).flatten(2), self.window, shape=padded.shape)
        result: Tensor = self.out(merged[:, self.shift :, self.shift :][:, :height, :breadth])
        return result

    def _pad(self, x: Tensor) -> Tensor:
        """Pad to whole windows by repeating the edge; unlike zeros, this adds no features that are not in the image."""
        height, breadth = x.shape[1:3]
        rows, columns = -(height + self.shift) % self.window, -(breadth + self.shift) % self.window
        if not (self.shift or rows or columns):
            return x
        margins = (self.shift, columns, self.shift, rows)
        return F.pad(x.permute(0, 3, 1, 2), margins, mode="replicate").permute(0, 2, 3, 1)

    def _heads(self, tokens: Tensor) -> Tensor:
        """(N, w w, F) to (N, heads, w w, F / heads)."""
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


def to_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, F), H and W multiples of the window's edge w, to (B H W / w^2, w^2, F)."""
    batch, height, breadth, width = x.shape
    x = x.reshape(batch, height // window, window, breadth // window, window, width)
    return x.transpose(2, 3).reshape(-1, window**2, width)


def from_windows(tokens: Tensor, window: int, *, shape: torch.Size) -> Tensor:
    """Inverse of :func:`to_windows`, to a map of `shape` (B, H, W, F)."""
    batch, height, breadth, width = shape
    x = tokens.reshape(batch, height // window, breadth // window, window, window, width)
    return x.transpose(2, 3).reshape(shape)


class SpectralAttention(nn.Module):
    """Multi-head attention between features instead of pixels (transposed; arXiv 2111.09881, eq. 1).

    The scores of a head are cosines between its features over all pixels, times a learned temperature. The depthwise
    convolutions that the paper applies before the scores are omitted.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, F) to (B, H, W, F)."""
        batch, height, breadth, _ = x.shape
        parts = self.qkv(x).reshape(batch, height * breadth, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 4, 1)  # (B, heads, F / heads, H W) each
        scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        mixed = (scores * self.temperature).softmax(dim=-1) @ value
        result: Tensor = self.out(mixed.flatten(1, 2).transpose(1, 2).reshape(x.shape))
        return result


class GatedFeedForward(nn.Module):
    """Expand, depthwise 3x3 convolution, gate one half by GELU of the other, reduce (arXiv 2111.09881, eq. 2)."""

    def __init__(self, width: int, *, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * hidden, bias=False)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, F) to (B, H, W, F)."""
        hidden = self.depthwise(self.expand(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        gate, value = hidden.chunk(2, dim=-1)
        result: Tensor = self.out(F.gelu(gate) * value)
        return result


class SpatialSpectralLayer(nn.Module):
    """S2TL: windowed spatial attention, spectral attention and feed-forward, each with pre-normalisation and skip.

    Args:
        params: Sizes; with `params.checkpoint` only the input is kept for the backward pass.
        shifted: Whether its windows are shifted; see :class:`WindowAttention`.
    """

    def __init__(self, params: CdformerParams, *, shifted: bool) -> None:
        super().__init__()
        width = params.width
        self.checkpoint = params.checkpoint
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.spatial = WindowAttention(width, heads=params.heads, window=params.window, shifted=shifted)
        self.spectral = SpectralAttention(width, heads=params.heads)
        self.feed_forward = GatedFeedForward(width, hidden=max(1, round(params.expansion * width)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, F) to (B, H, W, F)."""
        return _maybe_recomputed(self._mix, x, checkpoint=self.checkpoint)

    def _mix(self, x: Tensor) -> Tensor:
        for norm, part in zip(self.norms, (self.spatial, self.spectral, self.feed_forward), strict=True):
            x = x + part(norm(x))
        return x


class NoiseConditionedLayer(nn.Module):
    """NC-S2TL: add the noise level, attend to the features of the super-resolution stream, then apply an S2TL.

    Without downsampling, attention between all pairs of pixels is too large (2.7e8 scores per head at 128 px). The
    paper does not say how it avoids that. Here the cross-attention is windowed like the spatial one, and query and
    context are normalised before it.

    Args:
        params: Sizes.
        shifted: Whether the windows of the cross-attention are shifted; those of the S2TL are the opposite.
    """

    def __init__(self, params: CdformerParams, *, shifted: bool) -> None:
        super().__init__()
        width = params.width
        self.checkpoint = params.checkpoint
        self.level = nn.Linear(width, width)
        self.norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross = WindowAttention(width, heads=params.heads, window=params.window, shifted=shifted)
        self.layer = SpatialSpectralLayer(params, shifted=not shifted)

    def forward(self, x: Tensor, context: Tensor, embedding: Tensor) -> Tensor:
        """Map F_DS and F_SR, both (B, H, W, F), and the noise level embedding (B, F) to (B, H, W, F)."""
        x = _maybe_recomputed(self._attend, x, context, embedding, checkpoint=self.checkpoint)
        result: Tensor = self.layer(x)
        return result

    def _attend(self, x: Tensor, context: Tensor, embedding: Tensor) -> Tensor:
        x = x + self.level(embedding)[:, None, None]
        result: Tensor = x + self.cross(self.norm(x), self.context_norm(context))
        return result


def _maybe_recomputed(function: Callable[..., Tensor], *inputs: Tensor, checkpoint: bool) -> Tensor:
    if not (checkpoint and torch.is_grad_enabled()):
        return function(*inputs)
    # The function draws no random numbers, so there is no random state to restore.
    result: Tensor = recompute(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return result
