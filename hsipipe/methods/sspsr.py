"""SSPSR (arXiv 2005.08752): spatial-spectral prior, groups of bands, progressive upsampling."""

from typing import ClassVar

from torch import nn

from hsipipe.methods.network_method import GroupedMethod, PublishedSettings
from hsipipe.methods.networks.published import BandGroups, GroupedTrunk, SspsrTrunk, convolution, two_factors
from hsipipe.params import NonNegative, Positive


class SspsrSettings(PublishedSettings):
    """Sizes and training of SSPSR."""

    n_subs: Positive
    """Bands in a group; 8 in the paper for remote sensing, 4 for CAVE."""
    n_ovls: NonNegative
    """Bands that a group shares with the next; 2 in the paper for remote sensing, 1 for CAVE."""
    width: Positive
    """Features F; 256 in the paper."""
    blocks: Positive
    """Spatial-spectral blocks of the branch and of the trunk; 3 in the paper, 8 for CAVE."""


class SspsrNet(GroupedTrunk):
    """The published network.

    Args:
        bands: Bands C.
        scale: Ratio s.
        n_subs: Bands in a group.
        n_ovls: Bands shared with the next group.
        width: Features F.
        blocks: Spatial-spectral blocks of each of both parts.
    """

    def __init__(self, bands: int, scale: int, *, n_subs: int, n_ovls: int, width: int, blocks: int) -> None:
        groups = BandGroups(bands, n_subs=n_subs, n_ovls=n_ovls)
        first, second = two_factors(scale)
        branch = nn.Sequential(SspsrTrunk(n_subs, width=width, blocks=blocks, scale=first), convolution(width, n_subs))
        trunk = SspsrTrunk(bands, width=width, blocks=blocks, scale=second)
        super().__init__(bands, groups, branch=branch, trunk=trunk, width=width)


class Sspsr(GroupedMethod):
    """A branch for each group of bands upsamples by s/2, a trunk on all bands by 2; features of the interpolation join.

    The published code takes even scales only; an odd one is upsampled in the branch alone, as in DMGASR's repository.
    Differences: the schedule is that of the trainer. The total variation of the loss (`variation`) has the squared
    differences of the published code. DMGASR's comparison has half the width:
    `sspsr-dmgasr`. Its channel attention averages over the image, so that a tile differs a little from the whole scene.
    """

    KIND: ClassVar[str] = "sspsr"
    DESCRIPTION: ClassVar[str] = "SSPSR: groups of bands, spatial-spectral blocks, progressive upsampling."
    Settings = SspsrSettings
    NET: ClassVar[type[nn.Module]] = SspsrNet
