"""Fill ``data/raw``: find or make the scenes, check each, copy it unchanged, write ``scenes.json``."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hsipipe.artifacts import RawScenes
from hsipipe.artifacts.no_data import NO_DATA
from hsipipe.artifacts.scenes import keep_bands
from hsipipe.datasets.base import Dataset, Measured, gsd_of
from hsipipe.datasets.catalogue import DATASETS
from hsipipe.datasets.download import cache_folder
from hsipipe.datasets.validate import validate_cube
from hsipipe.errors import DataError, MissingInputError
from hsipipe.formats import open_cube
from hsipipe.params import DatasetParams
from hsipipe.progress import progress
from hsipipe.storage.manifest import sha256

_SAME_NM = 0.1

logger = logging.getLogger(__name__)


def prepare_scenes(dataset: DatasetParams, out: Path, *, cache: Path | None = None) -> dict[str, float | int | str]:
    """Fill `out` with the scenes of a data set and ``scenes.json``.

    Args:
        dataset: Which one, and from where.
        out: An empty folder.
        cache: Where downloads are kept; default :func:`hsipipe.datasets.download.cache_folder`.

    Raises:
        UnknownNameError: No data set has this name.
        ParamsError: The parameters do not fit the data set.
        MissingInputError: There is no scene, or no network.
        DataError: A scene is not fit for use.
        FileFormatError: A file is damaged.
    """
    facts = DATASETS[dataset.name].configure(dataset)
    generated = facts.generate(dataset.synthetic, out)
    found = dict(generated) if generated is not None else _find_scenes(facts, _root(facts, dataset.root, cache))
    # Where they lie and before they are copied: a message then names the file that a person can mend.
    entries = _check_scenes(facts, found)
    if generated is None:
        _copy_scenes(facts, found, out)
    _add_digests(facts, found, entries, out)
    return _write_index(facts, entries, out)


def _root(facts: Dataset, root: str | None, cache: Path | None) -> Path:
    if root is None:
        return facts.fetch(cache or cache_folder())
    folder = Path(root).expanduser()
    if not facts.is_place(folder):
        raise MissingInputError(f"dataset.root {root!r} is no folder. Expected there: {facts.layout}.")
    return folder


def _find_scenes(facts: Dataset, root: Path) -> dict[str, Path]:
    found = facts.find(root)
    if not found:
        raise MissingInputError(f"No scene of {facts.name!r} in {root}. Expected there: {facts.layout}.")
    return {name: found[name] for name in sorted(found)}


def _check_scenes(facts: Dataset, found: Mapping[str, Path]) -> list[dict[str, Any]]:
    entries = []
    with progress("check scenes", total=len(found)) as advance:
        for name, path in found.items():
            entries.append(check_scene(facts, name, path))
            _report_no_data(entries[-1])
            advance(note=name)
    check_same_bands(entries)
    return entries


def _report_no_data(entry: Mapping[str, Any]) -> None:
    for image, where in ((entry, "scene"), (entry.get("msi", {}), "MSI of scene")):
        if NO_DATA in image:
            logger.warning("%s %r: %.1f %% of the pixels have no data", where, entry["name"], 100 * image[NO_DATA])


def _copy_scenes(facts: Dataset, found: Mapping[str, Path], out: Path) -> None:
    with progress("copy scenes", total=len(found)) as advance:
        for name, path in found.items():
            for target, source in facts.files(name, path).items():
                (out / target).parent.mkdir(parents=True, exist_ok=True)
                # Copied and not hard-linked: whoever versions the copy may set it read-only, and the
                # owner's file would change with it.
                shutil.copyfile(source, out / target)
            advance(note=name)


def check_scene(facts: Dataset, name: str, path: Path) -> dict[str, Any]:
    """Check a scene and describe it, the entry of ``scenes.json`` without its digests.

    Args:
        facts: Its data set.
        name: Its name.
        path: Where it is.

    Raises:
        DataError: It is not fit for use.
        ParamsError: The parameters do not fit it.
        FileFormatError: A file is damaged.
    """
    cube = facts.read(path)
    # Whole, so that a message counts the bands as the file does.
    none = validate_cube(cube, name=name, bands=facts.bands, skip=facts.drop_bands, drop=facts.drop_param)
    kept = keep_bands(cube, facts.drop_bands)
    entry: dict[str, Any] = {
        "name": name,
        "path": facts.location(name, path),
        "shape": list(kept.shape),
        "wavelength_nm": kept["wavelength_nm"].values.tolist() if "wavelength_nm" in kept.coords else [],
        "gsd_m": facts.gsd_m if facts.gsd_m is not None else gsd_of(cube),
    }
    entry |= {NO_DATA: none} if none else {}
    if (variable := facts.variable_in(path)) is not None:
        entry["variable"] = variable
    if (msi := facts.msi(name, path)) is not None:
        none = check_msi(msi, name, (kept.shape[1], kept.shape[2]))
        entry["msi"] = {"path": msi.location, "variable": msi.variable, "scale": msi.scale}
        entry["msi"] |= {NO_DATA: none} if none else {}
    return entry


def check_msi(msi: Measured, name: str, shape: tuple[int, int]) -> float:
    """Check the multispectral image of a scene of `shape`, rows and columns; return its share without data.

    Raises:
        DataError: It is not fit for use, or lies on another grid.
    """
    image = open_cube(msi.path, variable=msi.variable)
    none = validate_cube(image, name=f"{name} (its MSI)")
    if image.shape[1:] != shape:
        raise DataError(
            f"The MSI of scene {name!r}, {msi.path}, has {image.shape[1]} x {image.shape[2]} pixels, expected "
            f"{shape[0]} x {shape[1]}: both must lie on one grid. Resample it, or take it away."
        )
    return none


def _add_digests(facts: Dataset, found: Mapping[str, Path], entries: list[dict[str, Any]], out: Path) -> None:
    with progress("sha256 of scenes", total=len(entries)) as advance:
        for entry in entries:
            name = entry["name"]
            entry["sha256"] = {file: sha256(out / file) for file in sorted(facts.files(name, found[name]))}
            advance(note=name)


def _write_index(facts: Dataset, entries: list[dict[str, Any]], out: Path) -> dict[str, float | int | str]:
    gsd = {entry["gsd_m"] for entry in entries}
    index: Mapping[str, Any] = {
        "dataset": facts.name,
        "title": facts.title,
        "licence": facts.licence,
        "doi": facts.doi,
        "ground_truth": facts.ground_truth,
        "scale": facts.scale,
        "gsd_m": gsd.pop() if len(gsd) == 1 else None,
        "wavelength_nm": entries[0]["wavelength_nm"],
        "drop_bands": list(facts.drop_bands),
        "scenes": entries,
    }
    (out / RawScenes.INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return {
        "scenes": len(entries),
        "bands": entries[0]["shape"][0],
        "pixels": sum(entry["shape"][1] * entry["shape"][2] for entry in entries),
        "bytes": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
    }


def check_same_bands(entries: list[dict[str, Any]]) -> None:
    """Check that scenes, as :func:`check_scene` describes them, have the bands of the first.

    Raises:
        DataError: Names two that differ.
    """
    first = entries[0]
    for entry in entries[1:]:
        same = entry["shape"][0] == first["shape"][0] and _same_nm(entry["wavelength_nm"], first["wavelength_nm"])
        if not same:
            raise DataError(
                f"Scene {entry['name']!r} ({entry['shape'][0]} bands) and scene {first['name']!r} "
                f"({first['shape'][0]} bands) have different bands or wavelengths; keep scenes of one sensor."
            )


def _same_nm(mine: list[float], other: list[float]) -> bool:
    # Formats keep wavelengths to different digits.
    return len(mine) == len(other) and np.allclose(mine, other, rtol=0, atol=_SAME_NM)
