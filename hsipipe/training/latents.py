"""Latent precomputation: the whitened latents of every training and validation patch."""

from pathlib import Path

import numpy as np
import torch

from hsipipe.artifacts import GaeCheckpoint, PatchStore
from hsipipe.degradation.bicubic import upsample
from hsipipe.models.dmgasr import load_gae
from hsipipe.patches.dataset import PatchArrays
from hsipipe.progress import progress
from hsipipe.storage.manifest import digest
from hsipipe.storage.stores import ArraySpec, create_store, get_array

SPLITS = ("train", "val")


def encode_latents(patches: PatchStore, gae: GaeCheckpoint, out: Path) -> dict[str, float | str]:
    """Encode HR and interpolated LR patches into ``<split>.zarr`` with ``hr`` and ``lr`` (N, G, k, P, P).

    Args:
        patches: Patches of all splits; the test split is not encoded, nothing may read it in training.
        gae: Trained autoencoder; its digest is written into each store.
        out: Existing empty folder.

    Returns:
        Counts and the standard deviation of the latents (1 when whitening fits).
    """
    module, key = load_gae(gae.path), digest(gae.path)
    summary: dict[str, float | str] = {"gae_digest": key}
    for split in SPLITS:
        arrays = PatchArrays(patches.path / f"{split}.zarr")
        shape = (len(arrays), module.plan.count, module.params.latent_channels, arrays.size, arrays.size)
        spec = ArraySpec(
            shape=shape,
            dims=("patch", "group", "channel", "y", "x"),
            chunks=(1, *shape[1:]),
            shards=(arrays.shard, *shape[1:]),
            attrs={"units": "1"},
        )
        attrs = {"gae_digest": key, "scale": arrays.scale}
        group = create_store(out / f"{split}.zarr", {"hr": spec, "lr": spec}, attrs=attrs)
        stores = {name: get_array(group, name) for name in ("hr", "lr")}
        squares = 0.0
        with progress(f"latents {split}", len(arrays)) as advance:
            for start in range(0, len(arrays), arrays.shard):
                indices = np.arange(start, min(start + arrays.shard, len(arrays)))
                batch = arrays.read(indices)
                for name, cubes in (("hr", batch["hr"]), ("lr", upsample(batch["lr"], arrays.scale))):
                    with torch.inference_mode():
                        encoded = [module.encode(torch.from_numpy(cube[None]))[0].numpy() for cube in cubes]
                    latents = np.stack(encoded)
                    stores[name][start : start + len(indices)] = latents
                    if name == "hr":
                        squares += float(np.square(latents, dtype=np.float64).sum())
                advance(len(indices))
        summary[f"{split}_patches"] = len(arrays)
        summary[f"{split}_latent_rms"] = (squares / np.prod(shape)) ** 0.5
    return summary
