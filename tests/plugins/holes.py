"""Pixels without data in pairs and patches that were made of whole scenes."""

import json
import shutil

import numpy as np
import zarr

from hsipipe.artifacts import DegradedPairs
from hsipipe.artifacts.no_data import NO_DATA


def with_holes(pairs, folder, where):
    """A copy of pairs in which pixels (H, W) of every region are NaN; an LR pixel is if all its HR pixels are."""
    copy = DegradedPairs(shutil.copytree(pairs.path, folder))
    index = json.loads((folder / "pairs.json").read_text())
    height, width = (size // index["scale"] for size in where.shape)
    low = where.reshape(height, index["scale"], width, index["scale"]).all(axis=(1, 3))
    for part, entries in index["splits"].items():
        for entry in entries:
            group = zarr.open_group(folder / part / f"{entry['name']}.zarr")
            group.attrs[NO_DATA] = float(where.mean())
            for name, mask in (("hr", where), ("msi", where), ("lr", low)):
                group[name][...] = np.where(mask, np.float32(np.nan), group[name][...])
    return copy


def under_mask(store, folder, name, change):
    """A copy of a patch store with other values of an array where it has no data."""
    shutil.copytree(store.path, folder)
    for path in folder.glob("*.zarr"):
        group = zarr.open_group(path)
        valid = group["valid"][...] > 0
        if name == "lr":
            count, _, height, width = group["lr"].shape
            edge = valid.shape[-1] // width
            valid = valid.reshape(count, 1, height, edge, width, edge).any(axis=(3, 5))
        values = group[name][...]
        group[name][...] = np.where(valid, values, change(values))
    return type(store)(folder)
