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
from hsipipe.artifacts.no_data import NO_DATA, VALID, Mask, filled, has_data
from hsipipe.errors import DataError
from hsipipe.params import PatchesParams
from hsipipe.patches.grid import check_regions, patch_origins, valid_shares
from hsipipe.progress import progress
from hsipipe.storage.parallel import run_all
from hsipipe.storage.shards import write_rows
from hsipipe.storage.stores import ArraySpec, create_store, get_array, read

ARRAYS = ("hr", "lr", "msi")
_BAND_DIMS = {"msi": "msi_band", VALID: "one"}
"""Name of the second axis of an array, if it is not `band`."""


@dataclass(frozen=True)
class _Plan:
    """Patches of one part of the split: sources, their arrays, and origins (N, 3) as (number of the region, y, x).

    `valid` has the pixels with data of each region, or None where all have some; `skipped` counts the patches with too
    few of them.
    """

    scale: int
    size: int
    names: list[str]
    groups: list[zarr.Group]
    arrays: tuple[str, ...]
    origins: NDArray[np.int64]
    valid: list[Mask | None]
    skipped: int


def extract_patches(pairs: DegradedPairs, out: Path, *, patches: PatchesParams) -> dict[str, float | int | str]:
    """Write ``<split>.zarr`` with hr, lr, msi if the pairs have one (patch, band, y, x), and origin (patch, 3).

    Pixels without data are filled from the others of the patch, see :func:`hsipipe.artifacts.no_data.filled`. A store
    with such pixels also has ``valid`` (patch, 1, y, x), 1 for the others and 0 for them.

    Args:
        pairs: Degraded pairs.
        out: Empty folder.
        patches: Size, stride, shard and the least share of pixels with data.

    Raises:
        DataError: A region is smaller than a patch, or no patch of a part of the split has enough pixels with data.
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
    skipped = {f"{part}_patches_without_data": plan.skipped for part, plan in plans.items() if plan.skipped}
    return {"size": patches.size, "stride": patches.stride, **summary, **skipped}


def _shape(region: list[int]) -> tuple[int, int]:
    y0, y1, x0, x1 = region
    return y1 - y0, x1 - x0


def _plan(pairs: DegradedPairs, part: str, scale: int, patches: PatchesParams) -> _Plan:
    names = pairs.names(part)
    groups = [pairs.open(part, name) for name in names]
    valid = [_valid(group) for group in groups]
    origins, skipped, complete = [], 0, True
    for number, (name, group, mask) in enumerate(zip(names, groups, valid, strict=True)):
        height, width = get_array(group, "hr").shape[1:]
        label = f"the {part} region {name!r}"
        corners = patch_origins(label, (height, width), size=patches.size, stride=patches.stride, scale=scale)
        if mask is not None:
            shares = valid_shares(mask, corners, patches.size)
            enough = shares >= patches.least_valid
            skipped, complete = skipped + int((~enough).sum()), complete and bool((shares[enough] == 1).all())
            corners = corners[enough]
        origins.append(np.column_stack([np.full(len(corners), number), corners]))
    if not any(map(len, origins)):
        raise DataError(
            f"No {part} patch of {patches.size} x {patches.size} pixels has data in {patches.least_valid:.0%} of them. "
            "Lower patches.least_valid or patches.size, or provide scenes with more data."
        )
    held = tuple(name for name in ARRAYS if name in groups[0]) + (() if complete else (VALID,))
    return _Plan(scale, patches.size, names, groups, held, np.concatenate(origins), valid, skipped)


def _valid(group: zarr.Group) -> Mask | None:
    """Return the pixels (H, W) of a region with data, or None where all have some."""
    if NO_DATA not in group.attrs:
        return None
    hr = get_array(group, "hr")
    rows = hr.chunks[1]
    strips = (_read_rows(hr, start, min(start + rows, hr.shape[1])) for start in range(0, hr.shape[1], rows))
    return np.concatenate([has_data(strip) for strip in strips])


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
    if name == VALID:
        yield from _cut_valid(plan, origins)
        return
    ratio = plan.scale if name == "lr" else 1
    size = plan.size // ratio
    for (scene, y), patches in groupby(origins.tolist(), key=lambda origin: origin[:2]):
        # Neighbouring patches share rows, which are decoded once.
        strip = _read_rows(get_array(plan.groups[scene], name), y // ratio, y // ratio + size)
        for _, _, x in patches:
            patch = strip[:, :, x // ratio : x // ratio + size]
            yield patch if plan.valid[scene] is None else filled(patch, has_data(patch), scale=plan.scale // ratio)
        del strip  # free the strip before reading the next one


def _cut_valid(plan: _Plan, origins: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    for scene, y, x in origins.tolist():
        mask = plan.valid[scene]
        part = np.ones((plan.size, plan.size)) if mask is None else mask[y : y + plan.size, x : x + plan.size]
        yield part[None].astype(np.uint8)


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
        bands = 1 if name == VALID else get_array(plan.groups[0], name).shape[0]
        band_dim, suffix = _BAND_DIMS.get(name, "band"), ("_lr" if name == "lr" else "")
        layout[name] = ArraySpec(
            shape=(count, bands, size, size),
            dims=("patch", band_dim, f"y{suffix}", f"x{suffix}"),
            chunks=(1, bands, size, size),
            shards=(shard, bands, size, size),
            attrs={"units": "1"},
            dtype="uint8" if name == VALID else "float32",
            compressed=False,
        )
    origin_attrs = {"units": "HR pixels", "columns": ["scene", "y", "x"]}
    layout["origin"] = ArraySpec((count, 3), ("patch", "origin"), (count, 3), dtype="int32", attrs=origin_attrs)
    return layout
