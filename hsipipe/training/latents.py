"""Latent precomputation: the whitened latents of every training and validation patch."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hsipipe.artifacts import GaeCheckpoint, PatchStore
from hsipipe.artifacts.no_data import VALID
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.device import device_for
from hsipipe.methods.dmgasr.gae import GroupAutoencoder, load_gae
from hsipipe.params import HardwareParams
from hsipipe.progress import progress
from hsipipe.storage.manifest import digest
from hsipipe.storage.stores import ArraySpec, create_store, get_array, open_store

SPLITS = ("train", "val")


def encode_latents(
    patches: PatchStore, gae: GaeCheckpoint, out: Path, *, hardware: HardwareParams
) -> dict[str, float | str]:
    """Encode HR and interpolated LR patches into ``<split>.zarr`` with ``hr`` and ``lr`` (N, G, k, P, P).

    The mask of pixels with data is copied where the patches have one.

    Args:
        patches: Patches of all splits. The test split is not encoded, so that no training can read it.
        gae: Trained autoencoder; its digest is written into each store.
        out: Existing empty folder.
        hardware: Device.

    Returns:
        Counts and the standard deviation of the latents (1 if the whitening fits).
    """
    module, key = load_gae(gae.path).to(device_for(hardware.accelerator)), digest(gae.path)
    summary: dict[str, float | str] = {"gae_digest": key}
    for split in SPLITS:
        summary |= _encode_split(patches.path / f"{split}.zarr", out / f"{split}.zarr", module, key=key)
    return summary


def _encode_split(source: Path, target: Path, module: GroupAutoencoder, *, key: str) -> dict[str, float]:
    arrays = PatchArrays(source, arrays=("hr", "lr"))
    scale, size = int(arrays.attrs["scale"]), arrays.shape("hr")[-1]
    shape = (len(arrays), module.plan.count, module.latent_channels, size, size)
    step = _patches_per_shard(source)
    spec = ArraySpec(
        shape=shape,
        dims=("patch", "group", "channel", "y", "x"),
        chunks=(1, *shape[1:]),
        shards=(step, *shape[1:]),
        attrs={"units": "1"},
        compressed=False,
    )
    specs = {"hr": spec, "lr": spec}
    if VALID in arrays.names:
        mask = (len(arrays), 1, size, size)
        dims, row, file = ("patch", "one", "y", "x"), (1, *mask[1:]), (step, *mask[1:])
        specs[VALID] = ArraySpec(mask, dims, row, file, dtype="uint8", attrs={"units": "1"}, compressed=False)
    group = create_store(target, specs, attrs={"gae_digest": key, "scale": scale})
    stores = {name: get_array(group, name) for name in specs}
    squares, count = 0.0, 0
    with progress(f"latents {target.stem}", len(arrays)) as advance:
        for start in range(0, len(arrays), step):
            stop = min(start + step, len(arrays))
            batch = arrays.read(np.arange(start, stop))
            latents = _encode(module, batch["hr"])
            stores["hr"][start:stop] = latents
            stores["lr"][start:stop] = _encode(module, upsample(batch["lr"], scale))
            if VALID in batch:
                stores[VALID][start:stop] = batch[VALID]
                latents = latents.transpose(0, 3, 4, 1, 2)[batch[VALID][:, 0] > 0]
            squares += float(np.square(latents, dtype=np.float64).sum())
            count += latents.size
            advance(stop - start)
    return {f"{target.stem}_patches": len(arrays), f"{target.stem}_latent_rms": (squares / count) ** 0.5}


def _encode(module: GroupAutoencoder, cubes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Encode (N, C, P, P) to (N, G, k, P, P), cube by cube, since the groups of one cube already form a batch."""
    device = module.latent_mean.device
    with torch.inference_mode():
        return np.stack([module.encode(torch.from_numpy(cube[None]).to(device))[0].cpu().numpy() for cube in cubes])


def _patches_per_shard(store: Path) -> int:
    array = get_array(open_store(store), "hr")
    return int((array.shards or array.chunks)[0])
