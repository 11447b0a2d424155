"""Cut the pairs into patches: one sharded store per part of the split."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs
from hsipipe.params import PatchesParams
from hsipipe.patches.grid import check_regions, patch_origins
from hsipipe.progress import progress
from hsipipe.storage.parallel import run_all
from hsipipe.storage.shards import write_rows
from hsipipe.storage.stores import ArraySpec, create_store, get_array, read

ARRAYS = ("hr", "lr", "msi")


@dataclass(frozen=True)
class _Plan:
    """Patches of one part of the split: sources, their arrays, and origins (N, 3) as (number of the region, y, x)."""

    scale: int
    size: int
    names: list[str]
    groups: list[zarr.Group]
    arrays: tuple[str, ...]
    origins: NDArray[np.int64]


def extract_patches(pairs: DegradedPairs, out: Path, *, patches: PatchesParams) -> dict[str, float | int | str]:
    """Write ``<split>.zarr`` with hr, lr, msi if the pairs have one (patch, band, y, x), and origin (patch, 3).

    Args:
        pairs: Degraded pairs.
        out: Empty folder.
        patches: Size, stride and shard.

    Raises:
        DataError: A region is smaller than a patch.
    """
    index = pairs.index()
    regions = {
        f"the {part} region {entry['name']!r}": _shape(entry["region"])
        for part, entries in index["splits"].items()
        for entry in entries
    }
    check_regions(regions, size=patches.size, scale=int(index["scale"]))
    plans = {part: _plan(pairs, part, int(index["scale"]), patches) for part in index["splits"]}
    total = sum(-(-len(plan.origins) // patches.shard) for plan in plans.values())
    with progress("cut patches", total=total) as advance:
        for part, plan in plans.items():
            _write_split(plan, out / f"{part}.zarr", patches.shard, index, advance)
    summary: dict[str, float | int | str] = {f"{part}_patches": len(plan.origins) for part, plan in plans.items()}
    return {"size": patches.size, "stride": patches.stride, **summary}


def _shape(region: list[int]) -> tuple[int, int]:
    y0, y1, x0, x1 = region
    return y1 - y0, x1 - x0


def _plan(pairs: DegradedPairs, part: str, scale: int, patches: PatchesParams) -> _Plan:
    names = pairs.names(part)
    groups = [pairs.open(part, name) for name in names]
    origins = []
    for number, (name, group) in enumerate(zip(names, groups, strict=True)):
        height, width = get_array(group, "hr").shape[1:]
        label = f"the {part} region {name!r}"
        corners = patch_origins(label, (height, width), size=patches.size, stride=patches.stride, scale=scale)
        origins.append(np.column_stack([np.full(len(corners), number), corners]))
    held = tuple(name for name in ARRAYS if name in groups[0])
    return _Plan(scale, patches.size, names, groups, held, np.concatenate(origins))


def _write_split(plan: _Plan, path: Path, shard: int, index: dict[str, Any], advance: Any) -> None:
    count = len(plan.origins)
    shard = min(shard, count)
    kept = ("dataset", "scale", "psf", "srf", "response", "wavelength_nm")
    attrs = {key: index.get(key) for key in kept} | {"scenes": plan.names}
    group = create_store(path, _layout(plan, shard), attrs=attrs)
    get_array(group, "origin")[...] = plan.origins.astype(np.int32)

    def write_shard(number: int) -> None:
        origins = plan.origins[number * shard : (number + 1) * shard]
        for name in plan.arrays:
            write_rows(get_array(group, name), number, _cut(plan, name, origins))
        advance(note=path.stem)

    # A shard has one writer and is written once; a task holds one strip of a region and one patch in memory.
    bands, _, width = max((get_array(group, "hr").shape for group in plan.groups), key=lambda shape: shape[2])
    held = 2 * bands * plan.size * width * 4  # a strip, and the chunks that it is decoded from
    run_all((partial(write_shard, number) for number in range(-(-count // shard))), held_bytes=held)


def _cut(plan: _Plan, name: str, origins: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    ratio = plan.scale if name == "lr" else 1
    size = plan.size // ratio
    for (scene, y), patches in groupby(origins.tolist(), key=lambda origin: origin[:2]):
        # Neighbouring patches share rows, which are decoded once.
        strip = _read_rows(get_array(plan.groups[scene], name), y // ratio, y // ratio + size)
        for _, _, x in patches:
            yield strip[:, :, x // ratio : x // ratio + size]
        del strip  # free the strip before reading the next one


def _read_rows(array: zarr.Array[Any], start: int, stop: int) -> NDArray[Any]:
    """Read rows of a cube (band, y, x) chunk by chunk; Zarr would decode all chunks at once."""
    bands, _, width = array.shape
    out = np.empty((bands, stop - start, width), dtype=array.dtype)
    rows = array.chunks[1]
    edges = [start, *range(start // rows * rows + rows, stop, rows), stop]
    for low, high in pairwise(edges):
        out[:, low - start : high - start] = read(array, (slice(None), slice(low, high)))
    return out


def _layout(plan: _Plan, shard: int) -> dict[str, ArraySpec]:
    count = len(plan.origins)
    layout = {}
    for name in plan.arrays:
        size = plan.size // (plan.scale if name == "lr" else 1)
        bands = get_array(plan.groups[0], name).shape[0]
        band_dim, suffix = ("msi_band" if name == "msi" else "band"), ("_lr" if name == "lr" else "")
        layout[name] = ArraySpec(
            shape=(count, bands, size, size),
            dims=("patch", band_dim, f"y{suffix}", f"x{suffix}"),
            chunks=(1, bands, size, size),
            shards=(shard, bands, size, size),
            attrs={"units": "1"},
            compressed=False,
        )
    origin_attrs = {"units": "HR pixels", "columns": ["scene", "y", "x"]}
    layout["origin"] = ArraySpec((count, 3), ("patch", "origin"), (count, 3), dtype="int32", attrs=origin_attrs)
    return layout
