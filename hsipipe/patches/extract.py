"""Cut the pairs into patches: one sharded store for each part of the split."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs
from hsipipe.degradation.pairs import open_pair, pair_names, pairs_index
from hsipipe.params import PatchesParams
from hsipipe.patches.grid import check_regions, patch_origins
from hsipipe.progress import progress
from hsipipe.storage.parallel import run_all
from hsipipe.storage.stores import ArraySpec, create_store, get_array, read

ARRAYS = ("hr", "lr", "msi")


@dataclass(frozen=True)
class _Plan:
    """The patches of one split: sources and (N, 3) origins (scene, y, x)."""

    scale: int
    size: int
    names: list[str]
    groups: list[zarr.Group]
    origins: NDArray[np.int64]


def extract_patches(pairs: DegradedPairs, out: Path, *, patches: PatchesParams) -> dict[str, float | int | str]:
    """Write ``<split>.zarr`` with hr, lr, msi (patch, band, y, x) and origin (patch, 3).

    Args:
        pairs: The degraded pairs.
        out: An empty folder.
        patches: Size, stride and shard.

    Raises:
        DataError: A region is smaller than a patch.
    """
    index = pairs_index(pairs)
    regions = {
        f"the {part} region of scene {entry['name']!r}": _shape(entry["region"])
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
    names = pair_names(pairs, part)
    groups = [open_pair(pairs, part, name) for name in names]
    origins = []
    for number, (name, group) in enumerate(zip(names, groups, strict=True)):
        height, width = get_array(group, "hr").shape[1:]
        label = f"the {part} region of scene {name!r}"
        corners = patch_origins(label, (height, width), size=patches.size, stride=patches.stride, scale=scale)
        origins.append(np.column_stack([np.full(len(corners), number), corners]))
    return _Plan(scale, patches.size, names, groups, np.concatenate(origins))


def _write_split(plan: _Plan, path: Path, shard: int, index: dict[str, Any], advance: Any) -> None:
    count = len(plan.origins)
    shard = min(shard, count)
    attrs = {key: index[key] for key in ("dataset", "scale", "srf", "wavelength_nm")} | {"scenes": plan.names}
    group = create_store(path, _layout(plan, shard), attrs=attrs)
    get_array(group, "origin")[...] = plan.origins.astype(np.int32)

    def write_shard(start: int) -> None:
        origins = plan.origins[start : start + shard]
        for name in ARRAYS:
            get_array(group, name)[start : start + len(origins)] = _cut(plan, name, origins)
        advance(note=path.stem)

    # A shard has one writer and is written once; a task holds the patches of one shard.
    run_all(partial(write_shard, start) for start in range(0, count, shard))


def _cut(plan: _Plan, name: str, origins: NDArray[np.int64]) -> NDArray[Any]:
    ratio = plan.scale if name == "lr" else 1
    size = plan.size // ratio
    bands = get_array(plan.groups[0], name).shape[0]
    out = np.empty((len(origins), bands, size, size), dtype=np.float32)
    row: tuple[int, int] | None = None
    for number, (scene, y, x) in enumerate(origins.tolist()):
        top, left = y // ratio, x // ratio
        if row != (scene, top):  # neighbours share their rows, which are decoded once
            strip = read(get_array(plan.groups[scene], name), (slice(None), slice(top, top + size)))
            row = (scene, top)
        out[number] = strip[:, :, left : left + size]
    return out


def _layout(plan: _Plan, shard: int) -> dict[str, ArraySpec]:
    count = len(plan.origins)
    layout = {}
    for name in ARRAYS:
        size = plan.size // (plan.scale if name == "lr" else 1)
        bands = get_array(plan.groups[0], name).shape[0]
        band_dim, suffix = ("msi_band" if name == "msi" else "band"), ("_lr" if name == "lr" else "")
        layout[name] = ArraySpec(
            shape=(count, bands, size, size),
            dims=("patch", band_dim, f"y{suffix}", f"x{suffix}"),
            chunks=(1, bands, size, size),
            shards=(shard, bands, size, size),
            attrs={"units": "1"},
        )
    origin_attrs = {"units": "HR pixels", "columns": ["scene", "y", "x"]}
    layout["origin"] = ArraySpec((count, 3), ("patch", "origin"), (count, 3), dtype="int32", attrs=origin_attrs)
    return layout
