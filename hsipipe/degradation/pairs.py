"""Pairs to learn from: LR-HSI, HR-MSI and the HR-HSI that both come from, one store a region.

Every region is degraded by itself, as if it were a scene of its own: no LR pixel of one part of the split
has seen a pixel of another part.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs, RawScenes
from hsipipe.artifacts.no_data import NO_DATA, filled, has_data
from hsipipe.datasets.splits import SPLITS, Region, check_divides, plan_split, region_names
from hsipipe.degradation.noise import check_snr
from hsipipe.degradation.psf import make_psf
from hsipipe.degradation.registration import pair_warnings
from hsipipe.degradation.simulate import Scene, Sensors, simulate
from hsipipe.degradation.srf import response, srf_identity
from hsipipe.errors import DataError, ParamsError
from hsipipe.params import DegradationParams, SplitParams
from hsipipe.params.data import MEASURED
from hsipipe.progress import progress
from hsipipe.storage.space import check_space
from hsipipe.storage.stores import get_array, open_store, read, rows_per_chunk

logger = logging.getLogger(__name__)

_COMPARED = 256
"""Largest edge in LR pixels of the part in which a measured pair is compared."""


def make_pairs(
    scenes: RawScenes, out: Path, *, split: SplitParams, degradation: DegradationParams
) -> dict[str, float | int | str]:
    """Split the scenes, degrade each region, and write ``<split>/<region>.zarr`` and ``pairs.json``.

    Args:
        scenes: The prepared scenes.
        out: An empty folder.
        split: Which region is for what.
        degradation: Scale, PSF, SRF, noise and normalisation.

    Raises:
        DataError: A scene does not fit the scale, the split or the SRF, or the pairs do not fit on the disk.
        ParamsError: The parameters contradict each other or the scenes.
        IntegrityError: A file of a scene changed since it was prepared.
    """
    index = scenes.index()
    sensors = _sensors(degradation, index)
    parts = _plan(index, split, degradation)
    check_space(out, _pair_bytes(parts, sensors, _bands(index)), files=0)
    for name in sorted({region.scene for part in SPLITS for region in parts[part]}):
        scenes.verify(name)
    entries: dict[str, list[dict[str, Any]]] = {part: [] for part in SPLITS}
    digests, holed = _digests(index), _with_holes(index)
    with progress("degrade", total=sum(len(parts[part]) for part in SPLITS)) as advance:
        for part, name, region, cube, (low, span) in _regions(scenes, parts, degradation, holed):
            msi = _measured(scenes, region) if degradation.srf == MEASURED else None
            scene = Scene(str(region), cube, low, span, msi, has_holes=region.scene in holed)
            simulate(scene, out / part / f"{name}.zarr", sensors)
            box = [region.y0, region.y1, region.x0, region.x1]
            entry = {"name": name, "scene": region.scene, "region": box, "low": low, "span": span}
            entries[part].append(entry | digests.get(region.scene, {}))
            if msi is not None and degradation.scale > 1:
                _warn_of_pair(out / part / f"{name}.zarr", f"{part}/{name}", degradation)
            advance(note=f"{part}/{name}")
    _write_index(out, index, entries, degradation, sensors.response)
    return _summary(parts, degradation, index)


def _sensors(degradation: DegradationParams, index: Mapping[str, Any]) -> Sensors:
    srf, snr_db = degradation.srf, degradation.snr_db
    for sensor, value in (("lr", snr_db.lr), ("msi", snr_db.msi)):
        check_snr(f"degradation.snr_db.{sensor}", value)
    if srf in (None, MEASURED) and snr_db.msi is not None:
        raise ParamsError(
            f"degradation.snr_db.msi is {snr_db.msi:g}, but with degradation.srf {srf or 'null'} no MSI is simulated; "
            "set it to null."
        )
    if srf == MEASURED and degradation.normalisation != "fixed":
        raise ParamsError(
            f"degradation.normalisation {degradation.normalisation!r} scales the HSI alone and would tear it from its "
            "measured MSI; set it to fixed."
        )
    matrix = None
    if srf is not None and srf != MEASURED:
        matrix = response(srf, index["wavelength_nm"], bands=_bands(index))
    return Sensors(degradation.scale, make_psf(degradation.psf), matrix, snr_db, degradation.seed)


def _pair_bytes(parts: Mapping[str, Sequence[Region]], sensors: Sensors, bands: int) -> int:
    """Return the size of all pairs without compression, which gains little: radiometric noise hardly compresses."""
    msi = 0 if sensors.response is None else len(sensors.response)
    pixels = sum(height * width for regions in parts.values() for height, width in (r.shape for r in regions))
    return 4 * (pixels * (bands + msi) + pixels // sensors.scale**2 * bands)


def _warn_of_pair(path: Path, label: str, degradation: DegradationParams) -> None:
    """Say what casts doubt on a measured pair: a shift, or bands that the spectrum does not explain."""
    group = open_store(path)
    arrays = [get_array(group, key) for key in ("lr", "msi")]
    (y, height), (x, width) = (
        ((size - min(size, _COMPARED)) // 2, min(size, _COMPARED)) for size in arrays[0].shape[1:]
    )
    # The middle of the scene, which is the whole of most.
    lr, msi = (
        read(array, np.s_[:, y * ratio : (y + height) * ratio, x * ratio : (x + width) * ratio])
        for array, ratio in zip(arrays, (1, degradation.scale), strict=True)
    )
    if NO_DATA in group.attrs:
        if not has_data(lr).any():
            return
        lr, msi = filled(lr, has_data(lr)), filled(msi, has_data(msi), scale=degradation.scale)
    for sentence in pair_warnings(lr, msi, scale=degradation.scale, psf=make_psf(degradation.psf), response=None):
        logger.warning("%s: %s", label, sentence)


def _bands(index: Mapping[str, Any]) -> int:
    return int(index["scenes"][0]["shape"][0])


def _plan(index: Mapping[str, Any], split: SplitParams, degradation: DegradationParams) -> dict[str, list[Region]]:
    if split.by == "listed":  # the regions must fill whole LR pixels, the scenes need not
        shapes = {entry["name"]: (int(entry["shape"][1]), int(entry["shape"][2])) for entry in index["scenes"]}
    else:
        shapes = {entry["name"]: _usable(entry, degradation) for entry in index["scenes"]}
    return plan_split(shapes, split, scale=degradation.scale)


def _regions(
    scenes: RawScenes, parts: Mapping[str, Sequence[Region]], degradation: DegradationParams, holed: Collection[str]
) -> Iterator[tuple[str, str, Region, xr.DataArray, tuple[float, float]]]:
    """Part, name, region, its cube, and its low and span; scene by scene, since some formats are read whole."""
    named = [
        (part, name, region)
        for part in SPLITS
        for name, region in zip(region_names(parts[part]), parts[part], strict=True)
    ]
    for scene, group in groupby(sorted(named, key=lambda entry: entry[2].scene), key=lambda entry: entry[2].scene):
        cube, entries = scenes.open(scene), list(group)
        has_holes, top = scene in holed, 1.0
        if degradation.normalisation == "scene_max":
            top = _extremes(_spanned(cube, entries), has_holes=has_holes)[1]
        for part, name, region in entries:
            piece = cube[:, region.y0 : region.y1, region.x0 : region.x1]
            low, high = 0.0, top
            if degradation.normalisation == "region_minmax":
                low, high = _extremes(piece, has_holes=has_holes)
            if high <= low:
                raise DataError(
                    f"{region} has no range to be scaled by (from {low:g} to {high:g}); "
                    "set degradation.normalisation to fixed."
                )
            yield part, name, region, piece, (low, high - low)


def _extremes(cube: xr.DataArray, *, has_holes: bool) -> tuple[float, float]:
    step = rows_per_chunk(cube.shape)
    strips = (cube[:, start : start + step].values for start in range(0, cube.shape[1], step))
    if has_holes:
        strips = (strip[:, has_data(strip)] for strip in strips)
    both = [(float(strip.min()), float(strip.max())) for strip in strips if strip.size]
    return min((low for low, _ in both), default=0.0), max((high for _, high in both), default=0.0)


def _spanned(cube: xr.DataArray, entries: Sequence[tuple[str, str, Region]]) -> xr.DataArray:
    """The smallest part of a scene that holds its regions: what is cropped away does not count."""
    regions = [region for _, _, region in entries]
    rows = slice(min(r.y0 for r in regions), max(r.y1 for r in regions))
    columns = slice(min(r.x0 for r in regions), max(r.x1 for r in regions))
    return cube[:, rows, columns]


def _measured(scenes: RawScenes, region: Region) -> xr.DataArray:
    msi = scenes.open_msi(region.scene)
    return msi[:, region.y0 : region.y1, region.x0 : region.x1]


def _usable(entry: dict[str, Any], degradation: DegradationParams) -> tuple[int, int]:
    """Height and width of a scene that fill whole LR pixels."""
    _, height, width = entry["shape"]
    scale = degradation.scale
    if not degradation.crop_remainder:
        check_divides(entry["name"], (height, width), scale)
    elif min(height, width) < scale:
        raise DataError(f"Scene {entry['name']!r} has {height} x {width} pixels, less than one LR pixel of {scale}.")
    return height - height % scale, width - width % scale


def _write_index(
    out: Path,
    index: Mapping[str, Any],
    entries: Mapping[str, Any],
    degradation: DegradationParams,
    matrix: NDArray[np.float64] | None,
) -> None:
    srf = degradation.srf
    tree = {
        "dataset": index["dataset"],
        "wavelength_nm": index["wavelength_nm"],
        "scale": degradation.scale,
        "psf": degradation.psf.model_dump(mode="json"),
        "srf": srf if srf in (None, MEASURED) else srf_identity(srf),
        "response": None if matrix is None else matrix.tolist(),
        "normalisation": degradation.normalisation,
        "splits": entries,
    }
    (out / DegradedPairs.INDEX).write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")


def _digests(index: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Scene to a sha256 of its files, whatever they are called; of the user's own, which no name stands for."""
    if index["dataset"] != "folder":
        return {}
    files = {entry["name"]: "".join(sorted(entry["sha256"].values())) for entry in index["scenes"]}
    return {name: {"sha256": hashlib.sha256(text.encode()).hexdigest()} for name, text in files.items()}


def _with_holes(index: Mapping[str, Any]) -> set[str]:
    """Return the scenes that have pixels without data, in themselves or in their MSI."""
    return {entry["name"] for entry in index["scenes"] if NO_DATA in entry or NO_DATA in entry.get("msi", {})}


def _summary(
    parts: Mapping[str, Sequence[Region]], degradation: DegradationParams, index: Mapping[str, Any]
) -> dict[str, float | int | str]:
    summary: dict[str, float | int | str] = {
        "scale": degradation.scale,
        "psf": make_psf(degradation.psf).describe(degradation.scale),
        "srf": degradation.srf or "none",
        "bands": _bands(index),
    }
    for part in SPLITS:
        summary[f"{part}_regions"] = len(parts[part])
        summary[f"{part}_pixels"] = sum(r.shape[0] * r.shape[1] for r in parts[part])
    return summary
