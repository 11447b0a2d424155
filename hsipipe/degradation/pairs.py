"""Pairs to learn from: LR-HSI, HR-MSI and the HR-HSI that both come from, one store a region.

Every region is degraded by itself, as if it were a scene of its own: no LR pixel of one part of the split
has seen a pixel of another part.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs, RawScenes
from hsipipe.datasets.prepare import open_scene, scene_index, verify_scene
from hsipipe.datasets.splits import SPLITS, Region, check_divides, plan_split
from hsipipe.degradation.bicubic import downsample_rows, resize_columns
from hsipipe.degradation.srf import apply_response, response
from hsipipe.errors import DataError, IntegrityError, MissingInputError
from hsipipe.params import DegradationParams, SplitParams
from hsipipe.progress import progress
from hsipipe.storage.parallel import run_all
from hsipipe.storage.stores import ArraySpec, create_store, get_array, open_store, read, rows_per_chunk

INDEX = "pairs.json"
# A thinner strip would spend most of its time on the rows that it shares with its neighbours.
_LEAST_LR_ROWS = 16


@dataclass(frozen=True)
class Pair:
    """A region in memory, float32.

    Attributes:
        name: Name of its scene.
        hr: HR-HSI (C, H, W).
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        wavelength_nm: Band centres (C,).
    """

    name: str
    hr: NDArray[np.float32]
    lr: NDArray[np.float32]
    msi: NDArray[np.float32]
    wavelength_nm: NDArray[np.float64]


def make_pairs(
    scenes: RawScenes, out: Path, *, split: SplitParams, degradation: DegradationParams
) -> dict[str, float | int | str]:
    """Split the scenes, degrade each region, and write ``<split>/<scene>.zarr`` and ``pairs.json``.

    Args:
        scenes: The prepared scenes.
        out: An empty folder.
        split: Which region is for what.
        degradation: Scale and SRF.

    Raises:
        DataError: A scene does not fit the scale, the split or the SRF.
        IntegrityError: A file of a scene changed since it was prepared.
    """
    index = scene_index(scenes)
    matrix = response(degradation.srf, index["wavelength_nm"])
    shapes = {entry["name"]: _usable(entry, degradation) for entry in index["scenes"]}
    parts = plan_split(shapes, split, scale=degradation.scale)
    regions = [(part, region) for part in SPLITS for region in parts[part]]
    for name in shapes:
        verify_scene(scenes, name)
    with progress("degrade", total=len(regions)) as advance:
        for part, region in regions:
            cube = open_scene(scenes, region.scene)[:, region.y0 : region.y1, region.x0 : region.x1]
            _degrade_region(cube, out / part / f"{region.scene}.zarr", degradation.scale, matrix)
            advance(note=f"{part}/{region.scene}")
    _write_index(out, index, parts, degradation)
    return _summary(parts, degradation, matrix)


def pairs_index(pairs: DegradedPairs) -> dict[str, Any]:
    """What ``pairs.json`` says.

    Raises:
        MissingInputError: The pairs were not published.
        IntegrityError: The file is damaged.
    """
    path = pairs.path / INDEX
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise MissingInputError(f"No {INDEX} in {pairs.path}. Run the stage degrade (dvc repro degrade).") from error
    except ValueError as error:
        raise IntegrityError(f"{path} is damaged ({error}). Run the stage degrade again.") from error


def pair_names(pairs: DegradedPairs, split: str) -> list[str]:
    """Names of the regions' scenes in a part of the split."""
    parts = pairs_index(pairs)["splits"]
    if split not in parts:
        raise DataError(f"No split {split!r}; there are {', '.join(parts)}.")
    return [str(entry["name"]) for entry in parts[split]]


def open_pair(pairs: DegradedPairs, split: str, name: str) -> zarr.Group:
    """The store of a region, for reading in parts.

    Raises:
        DataError: There is no such region; the message lists them.
    """
    names = pair_names(pairs, split)
    if name not in names:
        raise DataError(f"No scene {name!r} in split {split!r}; there are {', '.join(names)}.")
    return open_store(pairs.path / split / f"{name}.zarr")


def read_pair(pairs: DegradedPairs, split: str, name: str) -> Pair:
    """Read a whole region into memory."""
    group = open_pair(pairs, split, name)
    hr, lr, msi = (read(get_array(group, key)) for key in ("hr", "lr", "msi"))
    return Pair(name, hr, lr, msi, np.asarray(pairs_index(pairs)["wavelength_nm"], dtype=np.float64))


def _usable(entry: dict[str, Any], degradation: DegradationParams) -> tuple[int, int]:
    """Height and width of a scene that fill whole LR pixels."""
    _, height, width = entry["shape"]
    scale = degradation.scale
    if not degradation.crop_remainder:
        check_divides(entry["name"], (height, width), scale)
    elif min(height, width) < scale:
        raise DataError(f"Scene {entry['name']!r} has {height} x {width} pixels, less than one LR pixel of {scale}.")
    return height - height % scale, width - width % scale


def _degrade_region(cube: xr.DataArray, path: Path, scale: int, matrix: NDArray[np.float64]) -> None:
    bands, height, width = cube.shape
    rows = rows_per_chunk(cube.shape, multiple=scale, least=_LEAST_LR_ROWS * scale)
    group = create_store(path, _layout(cube, scale, rows, len(matrix)), attrs={"scale": scale})
    hr, lr, msi = (get_array(group, name) for name in ("hr", "lr", "msi"))

    def copy_strip(start: int) -> None:
        strip = np.ascontiguousarray(cube[:, start : start + rows].values)
        hr[:, start : start + rows] = strip
        msi[:, start : start + rows] = apply_response(matrix, strip)

    def reduce_strip(target: slice, source: slice, weights: NDArray[np.float64]) -> None:
        strip = np.ascontiguousarray(cube[:, source].values)
        narrow = weights.astype(np.float32) @ strip
        out = np.empty((bands, len(weights), width // scale), dtype=np.float32)
        resize_columns(narrow, out)
        lr[:, target] = out

    # Each task writes chunks of its own and holds one strip: memory is bounded by strips, not by scenes.
    copies = [partial(copy_strip, start) for start in range(0, height, rows)]
    run_all(copies + [partial(reduce_strip, *window) for window in downsample_rows(height, scale, rows=rows // scale)])


def _layout(cube: xr.DataArray, scale: int, rows: int, msi_bands: int) -> dict[str, ArraySpec]:
    bands, height, width = cube.shape
    nm = cube["wavelength_nm"].values.tolist()
    hsi = {"units": "1", "wavelength_nm": nm}
    return {
        "hr": ArraySpec((bands, height, width), ("band", "y", "x"), (bands, rows, width), attrs=hsi),
        "lr": ArraySpec(
            (bands, height // scale, width // scale),
            ("band", "y_lr", "x_lr"),
            (bands, rows // scale, width // scale),
            attrs=hsi,
        ),
        "msi": ArraySpec(
            (msi_bands, height, width), ("msi_band", "y", "x"), (msi_bands, rows, width), attrs={"units": "1"}
        ),
    }


def _write_index(
    out: Path, index: dict[str, Any], parts: dict[str, list[Region]], degradation: DegradationParams
) -> None:
    splits = {part: [{"name": r.scene, "region": [r.y0, r.y1, r.x0, r.x1]} for r in parts[part]] for part in SPLITS}
    tree = {
        "dataset": index["dataset"],
        "wavelength_nm": index["wavelength_nm"],
        "scale": degradation.scale,
        "srf": degradation.srf,
        "splits": splits,
    }
    (out / INDEX).write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")


def _summary(
    parts: dict[str, list[Region]], degradation: DegradationParams, matrix: NDArray[np.float64]
) -> dict[str, float | int | str]:
    summary: dict[str, float | int | str] = {"scale": degradation.scale, "srf": degradation.srf}
    summary |= {"bands": matrix.shape[1], "msi_bands": matrix.shape[0]}
    for part in SPLITS:
        summary[f"{part}_regions"] = len(parts[part])
        summary[f"{part}_pixels"] = sum(r.shape[0] * r.shape[1] for r in parts[part])
    return summary
