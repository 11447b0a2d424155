"""The group autoencoder (arXiv 2402.17285, section 3.1), with an optional linear path that the paper does not have."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hsipipe.errors import DataError, ModelInputError, ParamsError
from hsipipe.methods.checkpoint import load_module
from hsipipe.methods.dmgasr.windows import Resampling, WindowPlan, plan_resampling, same_centres
from hsipipe.methods.networks.groups import GroupPlan, plan_groups
from hsipipe.methods.networks.layers import Trunk
from hsipipe.params import GaeParams

BRANCH_SCALE = 0.02
"""Factor of the networks beside a linear path. Unscaled, the first steps of Adam moved the output by more than the
error of the linear path, and the training took longer to undo this than to learn."""


class GroupAutoencoder(nn.Module):
    """One encoder and one local decoder shared by all band groups, and a global decoder of the whole cube.

    The groups are stacked in the batch dimension. Latents are whitened per group and channel; the statistics are
    buffers and thus saved in the checkpoint (:meth:`set_whitening`).

    With spectral windows as groups, the cube's bands are resampled to the nodes of the windows and back. The networks
    then do not depend on the number of bands, and :meth:`for_wavelengths` serves other sensors.

    The linear path is a principal component analysis of each group, which is not trained; the networks beside it learn
    what it leaves over.

    If `params.encoder` is ``identity``, there is no network: the latents are the whitened bands.

    Args:
        bands: Band count C of the cubes.
        params: Sizes; see :class:`hsipipe.params.GaeParams`.
        windows: The spectral windows, if `params.window_nm` is set.
        branch_scale: Factor of the networks beside a linear path.

    Attributes:
        latent_channels: Latent channels k of a group.

    Raises:
        DataError: The cubes have too few bands.
        ParamsError: Windows are missing, or given but not set in `params`.
    """

    latent_mean: Tensor
    latent_std: Tensor
    residual_std: Tensor
    to_nodes: Tensor
    to_bands: Tensor
    linear_encoder: Tensor
    linear_decoder: Tensor

    def __init__(
        self,
        bands: int,
        params: GaeParams,
        *,
        windows: WindowPlan | None = None,
        branch_scale: float = BRANCH_SCALE,
    ) -> None:
        super().__init__()
        if (windows is None) != (params.window_nm is None):
            raise ParamsError(
                f"window_nm is {params.window_nm}, and windows were {'not ' if windows is None else ''}given; "
                "plan them with plan_windows where it is a number, and leave them out where it is null."
            )
        self.params = params
        self.plan: GroupPlan | WindowPlan = windows or plan_groups(bands, n_subs=params.n_subs, n_ovls=params.n_ovls)
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
        self.branch_scale = branch_scale if params.linear_path else 1.0
        if params.linear_path:
            self.register_buffer("linear_encoder", torch.zeros(self.plan.count, k, n))
            self.register_buffer("linear_decoder", torch.zeros(self.plan.count, n, k))
        shape = (self.plan.count, k, 1, 1)
        self.register_buffer("latent_mean", torch.zeros(shape))
        self.register_buffer("latent_std", torch.ones(shape))
        self.register_buffer("residual_std", torch.ones(shape))
        self._sensor: Resampling | None = None
        if windows is not None:
            self._bind(plan_resampling(windows, windows.wavelength_nm))

    @property
    def bands(self) -> int:
        """Band count C."""
        return self.plan.bands if self._sensor is None else len(self._sensor.wavelength_nm)

    @property
    def wavelength_nm(self) -> tuple[float, ...] | None:
        """Band centres (C,) of the sensor that it serves; None: bands are identified by their number only."""
        return None if self._sensor is None else self._sensor.wavelength_nm

    @property
    def groups(self) -> slice:
        """The groups in use, out of those with statistics: all, except for a sensor that spans only some windows."""
        return slice(None) if self._sensor is None else self._sensor.windows

    def config(self) -> dict[str, Any]:
        """Return the configuration from which :meth:`from_config` builds the same module, for the training sensor."""
        config: dict[str, Any] = {"bands": self.plan.bands, "params": self.params.model_dump(mode="json")}
        config["branch_scale"] = self.branch_scale
        if isinstance(self.plan, WindowPlan):
            config |= {"wavelength_nm": self.plan.wavelength_nm, "edges_nm": self.plan.edges_nm}
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GroupAutoencoder":
        """Build an autoencoder without trained weights."""
        # A checkpoint without these keys has networks, and groups of bands by number.
        saved = {"encoder": "network", "window_nm": None, **config["params"]}
        saved["optimizer"] = {"patience": 0, "weight_decay": 0.0, **saved["optimizer"]}
        params = GaeParams.model_validate(saved)
        windows = None
        if params.window_nm is not None:
            edges = tuple((float(low), float(high)) for low, high in config["edges_nm"])
            windows = WindowPlan(tuple(map(float, config["wavelength_nm"])), edges, int(params.n_subs))
        return cls(int(config["bands"]), params, windows=windows, branch_scale=float(config.get("branch_scale", 1.0)))

    def for_wavelengths(self, wavelength_nm: Sequence[float]) -> "GroupAutoencoder":
        """Return a copy that shares the weights, for the cubes of another sensor.

        Args:
            wavelength_nm: Band centres (C,), strictly increasing.

        Raises:
            ModelInputError: The groups are not spectral windows, or the windows do not cover every band.
            DataError: The centres are unknown or do not increase.
        """
        if not isinstance(self.plan, WindowPlan):
            raise ModelInputError(
                f"This model identifies its {self.bands} bands by their number and serves no other sensor; train one "
                "with gae.standard.window_nm, a width in nm, and gae.standard.global_decoder: false."
            )
        other = copy(self)
        # Copy the table of buffers, so that the two matrices can be replaced; the other tensors are shared.
        other._buffers = dict(self._buffers)
        trained = self.plan.wavelength_nm
        same = same_centres(trained, wavelength_nm)
        other._bind(plan_resampling(self.plan, trained if same else wavelength_nm))
        return other

    def _bind(self, sensor: Resampling) -> None:
        self._sensor = sensor
        for name, matrix in (("to_nodes", sensor.to_nodes), ("to_bands", sensor.to_bands)):
            self.register_buffer(name, torch.from_numpy(matrix).to(self.latent_mean), persistent=False)

    def encode(self, cube: Tensor) -> Tensor:
        """Encode a cube (B, C, H, W) to whitened latents (B, G, k, H, W)."""
        # In channels-last format, convolutions with few channels need no copies on a CPU.
        groups = self._split(cube).contiguous(memory_format=torch.channels_last)
        latent = self._with_linear(self.encoder(groups), groups, "linear_encoder")
        latent = latent.reshape(cube.shape[0], -1, self.latent_channels, *cube.shape[2:])
        whitened: Tensor = (latent - self.latent_mean[self.groups]) / self.latent_std[self.groups]
        return whitened

    def decode(self, latent: Tensor) -> Tensor:
        """Decode whitened latents (B, G, k, H, W) to a cube (B, C, H, W)."""
        batch, groups = latent.shape[:2]
        flat = (latent * self.latent_std[self.groups] + self.latent_mean[self.groups]).flatten(0, 1)
        decoded = self._with_linear(self.local_decoder(flat), flat, "linear_decoder")
        cube = self._merge(decoded.reshape(batch, groups, *decoded.shape[1:]))
        if self.global_decoder is not None:
            cube = cube + self.branch_scale * self.global_decoder(cube)
        return cube

    def _with_linear(self, branch: Tensor, groups: Tensor, path: str) -> Tensor:
        """Add the linear path of each group, (B * G, n, H, W) to (B * G, k, H, W) or back, to the network's output."""
        if not self.params.linear_path:
            return branch
        weights: Tensor = getattr(self, path)[self.groups]
        each = groups.reshape(-1, len(weights), *groups.shape[1:])
        return self.branch_scale * branch + torch.einsum("gkn,bgnhw->bgkhw", weights, each).flatten(0, 1)

    def forward(self, cube: Tensor) -> Tensor:
        """Reconstruct (B, C, H, W)."""
        return self.decode(self.encode(cube))

    def _split(self, cube: Tensor) -> Tensor:
        """Split a cube (B, C, H, W) into groups (B * G, n_subs, H, W)."""
        n = self.plan.n_subs
        if isinstance(self.plan, WindowPlan):
            nodes = torch.einsum("nc,bchw->bnhw", self.to_nodes, cube)
            return nodes.reshape(-1, n, *cube.shape[2:])
        groups = torch.stack([cube[:, start : start + n] for start in self.plan.starts], dim=1)
        return groups.flatten(0, 1)

    def _merge(self, groups: Tensor) -> Tensor:
        """Merge groups (B, G, n_subs, H, W) to a cube; average where their bands overlap."""
        if isinstance(self.plan, WindowPlan):
            return torch.einsum("cn,bnhw->bchw", self.to_bands, groups.flatten(1, 2))
        n = self.plan.n_subs
        cube = groups.new_zeros(groups.shape[0], self.bands, *groups.shape[3:])
        weight = groups.new_zeros(self.bands, 1, 1)
        for index, start in enumerate(self.plan.starts):
            cube[:, start : start + n] = cube[:, start : start + n] + groups[:, index]
            weight[start : start + n] += 1
        return cube / weight

    @torch.no_grad()
    def start_at_principal_components(self, spectra: Tensor) -> None:
        """Set the linear path to the PCA of the spectra of each group, and the output of the networks to zero.

        Training then starts at the reconstruction of the PCA. A GAE trained from random weights ended below the PCA in
        measurements.

        Args:
            spectra: (M, C) training pixels.
        """
        if not self.params.linear_path:
            return
        rows = self._split(spectra.T[None, :, :, None]).squeeze(-1).transpose(1, 2).double()
        # Not centred, so that a zero spectrum is reconstructed as zero.
        _, vectors = torch.linalg.eigh(rows.transpose(1, 2) @ rows / rows.shape[1])
        basis = vectors.flip(2)[:, :, : self.latent_channels]
        self.linear_encoder.copy_(basis.transpose(1, 2))
        self.linear_decoder.copy_(basis)
        for trunk in (self.encoder, self.local_decoder, self.global_decoder):
            if isinstance(trunk, Trunk):
                trunk.start_at_zero()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for path in ("linear_encoder", "linear_decoder"):
            # An earlier checkpoint has one linear path for all groups, as a convolution.
            if (shared := state_dict.pop(f"{prefix}{path}.weight", None)) is not None:
                state_dict[prefix + path] = shared[:, :, 0, 0].repeat(self.plan.count, 1, 1)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def set_whitening(self, *, mean: Tensor, std: Tensor, residual_std: Tensor) -> None:
        """Store the statistics (G, k) of the raw latents and of the whitened HR minus LR latents."""
        for buffer, value in (
            (self.latent_mean, mean),
            (self.latent_std, std),
            (self.residual_std, residual_std),
        ):
            buffer.copy_(value.reshape(buffer.shape))


def load_gae(folder: Path) -> GroupAutoencoder:
    """Load the trained autoencoder of a GaeCheckpoint.

    Raises:
        MissingInputError: The folder holds no checkpoint.
        IntegrityError: A file is corrupt.
    """
    return load_module(folder, GroupAutoencoder.from_config)
