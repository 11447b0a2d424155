"""CEGATSR (DOI 10.1080/01431161.2022.2121188): SSPSR with a graph attention network in the branch."""

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.methods.network_method import GroupedMethod, PublishedSettings
from hsipipe.methods.networks.published import BandGroups, GroupedTrunk, SspsrTrunk, convolution, two_factors, upsampler
from hsipipe.params import NonNegative, Positive

_HEADS = 2
_NEIGHBOURS = 6
"""Nearest nodes besides a node itself; with 2 heads the best of the paper's sweep, whose span is 0.1 dB."""
_DROPOUT = 0.6
_ROWS = 1024
"""Nodes whose distances to all others are computed at once."""


class CegatsrSettings(PublishedSettings):
    """Sizes and training of CEGATSR."""

    n_subs: Positive
    """Bands in a group; 4 in the paper, 8 in DMGASR's comparison."""
    n_ovls: NonNegative
    """Bands that a group shares with the next; 1 in the paper, 2 in DMGASR's comparison."""
    width: Positive
    """Features F; 32 to 128 in the paper, 64 in DMGASR's comparison."""
    blocks: Positive
    """Spatial-spectral blocks of the trunk; 6 in the paper, 3 in DMGASR's comparison."""


class CegatsrNet(GroupedTrunk):
    """The published network; the sides of the LR image must be even.

    Args:
        bands: Bands C.
        scale: Ratio s.
        n_subs: Bands in a group.
        n_ovls: Bands shared with the next group.
        width: Features F.
        blocks: Spatial-spectral blocks of the trunk.
    """

    def __init__(self, bands: int, scale: int, *, n_subs: int, n_ovls: int, width: int, blocks: int) -> None:
        groups = BandGroups(bands, n_subs=n_subs, n_ovls=n_ovls)
        first, second = two_factors(scale)
        branch = nn.Sequential(
            convolution(n_subs, width),
            GraphUnit(width),
            convolution(width, width),
            upsampler(width, first),
            convolution(width, n_subs),
        )
        trunk = SspsrTrunk(bands, width=width, blocks=blocks, scale=second)
        super().__init__(bands, groups, branch=branch, trunk=trunk, width=width)


class Cegatsr(GroupedMethod):
    """SSPSR's frame, with attention between similar places of a group's image in place of the branch's blocks.

    The neighbours of a place are searched in the whole image, so that a prediction by tiles depends on the tiles. As
    published, the sides of an LR image are even; other images are extended by their last row and column. Odd scales
    are upsampled in the branch alone, as SSPSR's.

    The paper adds a depthwise separable branch next to the graph. The published code computes it and discards the
    result, and so does DMGASR's repository; it is omitted here, with its F^2 + 12 F parameters (4,864 at F = 64).
    Differences: the schedule is that of the trainer; the weights of the attention start by Xavier's rule with a gain of
    1.414, which is assumed. DMGASR's comparison has groups of 8 bands and 3 blocks: `cegatsr-dmgasr`.
    """

    KIND: ClassVar[str] = "cegatsr"
    DESCRIPTION: ClassVar[str] = "CEGATSR: groups of bands, graph attention, progressive upsampling."
    Settings = CegatsrSettings
    NET: ClassVar[type[nn.Module]] = CegatsrNet
    MULTIPLE: ClassVar[int] = 2


class GraphUnit(nn.Module):
    """Graph attention (arXiv 1710.10903) between the pixels of an image of half the size, upsampled again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.heads = nn.ModuleList(_Attention(width, width) for _ in range(_HEADS))
        self.last = _Attention(_HEADS * width, width)
        self.up = nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        image = self.down(x)
        nodes = image.flatten(2).transpose(1, 2)
        neighbours = nearest(nodes)
        dropped = self.dropout(nodes)
        features = torch.cat([torch.relu(head(dropped, neighbours)) for head in self.heads], dim=2)
        features = F.elu(self.last(self.dropout(features), neighbours))
        features = F.log_softmax(features, dim=2)
        return cast(Tensor, self.up(features.transpose(1, 2).reshape(image.shape)))


class _Attention(nn.Module):
    """One head: a softmax over the neighbours of LeakyReLU(a . [W h_i, W h_j]) weights W h_j (eq. 3 and 4 there)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.projection = nn.Parameter(torch.empty(inputs, outputs))
        self.score = nn.Parameter(torch.empty(2 * outputs, 1))
        for weights in (self.projection, self.score):
            nn.init.xavier_uniform_(weights, gain=1.414)

    def forward(self, nodes: Tensor, neighbours: Tensor) -> Tensor:
        """Nodes (B, N, inputs) and neighbours (B, N, k) to (B, N, outputs)."""
        features = nodes @ self.projection
        own, other = (features @ part for part in self.score.chunk(2))
        scores = own + _gathered(other, neighbours)[..., 0]
        weights = F.leaky_relu(scores, 0.2).softmax(dim=2)
        # One neighbour after the other: all at once would need k times the memory.
        parts = (weights[:, :, k, None] * _gathered(features, neighbours[:, :, k]) for k in range(weights.shape[2]))
        return cast(Tensor, sum(parts))


@torch.no_grad()
def nearest(nodes: Tensor) -> Tensor:
    """Return each node and its nearest others in Euclidean distance: (B, N, F) to indices (B, N, k).

    Computed in blocks of rows, since the distances of all pairs need N^2 numbers.
    """
    k = min(_NEIGHBOURS + 1, nodes.shape[1])
    exact = "donot_use_mm_for_euclid_dist"
    blocks = (torch.cdist(rows, nodes, compute_mode=exact) for rows in torch.split(nodes, _ROWS, dim=1))
    return torch.cat([block.topk(k, dim=2, largest=False).indices for block in blocks], dim=1)


def _gathered(values: Tensor, index: Tensor) -> Tensor:
    """Pick rows: (B, N, F) by (B, ...) to (B, ..., F)."""
    rows = index.flatten(1)[..., None].expand(-1, -1, values.shape[2])
    return values.gather(1, rows).reshape(*index.shape, -1)
