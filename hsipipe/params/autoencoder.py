"""The group ``gae`` of params.yaml: one group autoencoder for each of its entries."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsipipe.params.base import CountOrAll, Group, NonNegative, Positive
from hsipipe.params.training import LossParams, OptimizerParams


class GaeLossParams(LossParams):
    """Weights of the terms of the GAE's loss (arXiv 2402.17285, eq. 5)."""

    perceptual: Annotated[float, Field(ge=0)]
    """VGG19 features; needs the extra `perceptual`."""


class GaeParams(Group):
    """The group autoencoder (arXiv 2402.17285, section 3.1)."""

    encoder: Literal["network", "identity"]
    """`identity`: the bands of a group are its latent, so that the diffusion works on pixels; nothing is trained."""
    n_subs: CountOrAll
    """Bands in a group, or nodes of a window; all: one group of all bands, however many there are."""
    n_ovls: NonNegative
    """Bands that a group shares with the next, 0 where there is one group of all bands; of a window, the share
    n_ovls / n_subs of its width."""
    window_nm: Annotated[float, Field(gt=0)] | None
    """Groups are windows of this width in nm, each resampled to `n_subs` nodes, so that other sensors can be served;
    null: groups of bands by their number."""
    latent_channels: CountOrAll
    """Latent channels of a group; all: as many as it has bands."""
    width: Positive
    """Features of encoder and local decoder."""
    blocks: Positive
    """Spatial-spectral blocks of encoder and local decoder."""
    global_decoder: bool
    """Refine the whole cube after the groups are merged."""
    global_width: Positive
    """Features of the global decoder."""
    global_blocks: Positive
    """Spatial-spectral blocks of the global decoder."""
    linear_path: bool
    """Add a linear path that starts at the principal components of the groups (not in the paper)."""
    loss: GaeLossParams
    optimizer: OptimizerParams
    seed: NonNegative
    """Initial weights and order of the patches."""

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> "GaeParams":
        if self.n_subs == "all":
            if self.n_ovls:
                raise ValueError(f"n_ovls ({self.n_ovls}) must be 0 with n_subs: all, a single group has no neighbour")
        elif self.n_ovls >= self.n_subs:
            raise ValueError(f"n_ovls ({self.n_ovls}) must be smaller than n_subs ({self.n_subs})")
        return self

    @model_validator(mode="after")
    def _windows_have_nodes(self) -> "GaeParams":
        if self.window_nm is not None and (self.n_subs == "all" or self.encoder == "identity"):
            raise ValueError(
                f"window_nm ({self.window_nm:g}) resamples bands to nodes: it needs a number for n_subs "
                f"(got {self.n_subs}) and encoder: network (got {self.encoder})"
            )
        return self

    @model_validator(mode="after")
    def _windows_know_no_band_count(self) -> "GaeParams":
        if self.window_nm is not None and self.global_decoder:
            raise ValueError(
                f"window_nm ({self.window_nm:g}) needs global_decoder: false, because the global decoder is made for "
                "one number of bands"
            )
        return self

    @model_validator(mode="after")
    def _linear_path_has_enough_components(self) -> "GaeParams":
        channels, bands = self.latent_channels, self.n_subs
        if self.linear_path and channels != "all" and bands != "all" and channels > bands:
            raise ValueError(f"latent_channels ({channels}) must not exceed n_subs ({bands}) with linear_path")
        return self

    @model_validator(mode="after")
    def _identity_changes_nothing(self) -> "GaeParams":
        if self.encoder != "identity":
            return self
        if self.latent_channels not in (self.n_subs, "all"):
            raise ValueError(
                f"encoder: identity keeps every band of a group, so latent_channels ({self.latent_channels}) must be "
                f"n_subs ({self.n_subs}) or all"
            )
        if self.global_decoder or self.linear_path:
            raise ValueError("encoder: identity has no decoder: set global_decoder and linear_path to false")
        return self
