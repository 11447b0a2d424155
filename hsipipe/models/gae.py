"""The group autoencoder (arXiv 2402.17285, section 3.1), optionally with a linear path of our own."""

from typing import Any

import torch
from torch import Tensor, nn

from hsipipe.errors import DataError
from hsipipe.models.groups import GroupPlan, plan_groups
from hsipipe.models.layers import Trunk
from hsipipe.params import GaeParams


class GroupAutoencoder(nn.Module):
    """One encoder and one local decoder shared by all band groups, and a global decoder of the whole cube.

    The groups lie in the batch dimension. Latents come out whitened per group and channel; the
    statistics are buffers, so that they travel in the checkpoint (:meth:`set_whitening`).

    With `params.encoder` ``identity`` there is no network: latents are the whitened bands themselves.

    Args:
        bands: Band count C of the cubes.
        params: Sizes; see :class:`hsipipe.params.GaeParams`.

    Attributes:
        latent_channels: Latent channels k of a group.

    Raises:
        DataError: The cubes have too few bands.
    """

    latent_mean: Tensor
    latent_std: Tensor
    residual_std: Tensor

    def __init__(self, bands: int, params: GaeParams) -> None:
        super().__init__()
        self.params = params
        self.plan: GroupPlan = plan_groups(bands, n_subs=params.n_subs, n_ovls=params.n_ovls)
        n = self.plan.n_subs
        k = self.latent_channels = n if params.latent_channels == "all" else params.latent_channels
        if params.linear_path and k > n:
            raise DataError(
                f"A group has {n} bands, too few for the {k} components of a linear path (gae.latent_channels)."
            )
        self.encoder: Trunk | nn.Identity = nn.Identity()
        self.local_decoder: Trunk | nn.Identity = nn.Identity()
        if params.encoder == "network":
            self.encoder = Trunk(n, k, width=params.width, blocks=params.blocks)
            self.local_decoder = Trunk(k, n, width=params.width, blocks=params.blocks)
        self.global_decoder: Trunk | None = None
        if params.global_decoder:
            self.global_decoder = Trunk(bands, bands, width=params.global_width, blocks=params.global_blocks)
        self.linear_encoder: nn.Conv2d | None = None
        self.linear_decoder: nn.Conv2d | None = None
        if params.linear_path:
            self.linear_encoder = nn.Conv2d(n, k, 1, bias=False)
            self.linear_decoder = nn.Conv2d(k, n, 1, bias=False)
        shape = (self.plan.count, k, 1, 1)
        self.register_buffer("latent_mean", torch.zeros(shape))
        self.register_buffer("latent_std", torch.ones(shape))
        self.register_buffer("residual_std", torch.ones(shape))

    @property
    def bands(self) -> int:
        """Band count C."""
        return self.plan.bands

    def config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs to build the same module."""
        return {"bands": self.bands, "params": self.params.model_dump(mode="json")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GroupAutoencoder":
        """Build an autoencoder without trained weights."""
        # One that was saved without the word has networks.
        return cls(int(config["bands"]), GaeParams.model_validate({"encoder": "network", **config["params"]}))

    def encode(self, cube: Tensor) -> Tensor:
        """Whitened latents (B, G, k, H, W) of a cube (B, C, H, W)."""
        groups = self._split(cube)
        latent = self.encoder(groups)
        if self.linear_encoder is not None:
            latent = latent + self.linear_encoder(groups)
        latent = latent.reshape(cube.shape[0], self.plan.count, -1, *cube.shape[2:])
        whitened: Tensor = (latent - self.latent_mean) / self.latent_std
        return whitened

    def decode(self, latent: Tensor) -> Tensor:
        """The cube (B, C, H, W) of whitened latents (B, G, k, H, W)."""
        batch, groups = latent.shape[:2]
        flat = (latent * self.latent_std + self.latent_mean).flatten(0, 1)
        decoded = self.local_decoder(flat)
        if self.linear_decoder is not None:
            decoded = decoded + self.linear_decoder(flat)
        cube = self._merge(decoded.reshape(batch, groups, *decoded.shape[1:]))
        if self.global_decoder is not None:
            cube = cube + self.global_decoder(cube)
        return cube

    def forward(self, cube: Tensor) -> Tensor:
        """Reconstruct (B, C, H, W)."""
        return self.decode(self.encode(cube))

    def _split(self, cube: Tensor) -> Tensor:
        n = self.plan.n_subs
        groups = torch.stack([cube[:, start : start + n] for start in self.plan.starts], dim=1)
        return groups.flatten(0, 1)

    def _merge(self, groups: Tensor) -> Tensor:
        """Average the groups (B, G, n_subs, H, W) where their bands overlap."""
        n = self.plan.n_subs
        cube = groups.new_zeros(groups.shape[0], self.bands, *groups.shape[3:])
        weight = groups.new_zeros(self.bands, 1, 1)
        for index, start in enumerate(self.plan.starts):
            cube[:, start : start + n] = cube[:, start : start + n] + groups[:, index]
            weight[start : start + n] += 1
        return cube / weight

    @torch.no_grad()
    def start_at_principal_components(self, spectra: Tensor) -> None:
        """Set the linear path to the PCA of all groups' spectra and let the networks begin at zero.

        Training then starts at the PCA's reconstruction and can only improve on it; a GAE trained from
        random weights was measured below it.

        Args:
            spectra: (M, C) training pixels.
        """
        if self.linear_encoder is None or self.linear_decoder is None:
            return
        rows = torch.cat([spectra[:, start : start + self.plan.n_subs] for start in self.plan.starts]).double()
        # Not centred: a dark pixel then stays dark, and with it its spectral angle stays defined.
        _, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        basis = vectors.flip(1)[:, : self.latent_channels].T
        self.linear_encoder.weight.copy_(basis[:, :, None, None])
        self.linear_decoder.weight.copy_(basis.T[:, :, None, None])
        for trunk in (self.encoder, self.local_decoder, self.global_decoder):
            if isinstance(trunk, Trunk):
                trunk.start_at_zero()

    @torch.no_grad()
    def set_whitening(self, *, mean: Tensor, std: Tensor, residual_std: Tensor) -> None:
        """Store the statistics (G, k) of the raw latents and of the whitened HR minus LR latents."""
        for buffer, value in (
            (self.latent_mean, mean),
            (self.latent_std, std),
            (self.residual_std, residual_std),
        ):
            buffer.copy_(value.reshape(buffer.shape))
