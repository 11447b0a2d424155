"""The same pipeline on scenes with and without pixels that have no data: docs/adr/0039-holes-of-a-pair.md.

    OMP_NUM_THREADS=1 python benchmarks/no_data.py

Synthetic scenes, whole and with holes: fill in stripes over a fifth of the columns, and a cloud. Each set is degraded,
cut into patches and trained on by itself; so is a third set, whole but with a quarter fewer training scenes, about as
many pixels as those with holes have. All numbers are over the pixels of the test scenes that have data in all sets.
"""

import argparse
import json
import tempfile
from pathlib import Path

from record import ROOT, arguments, environment, write_record  # isort: skip

import numpy as np
import torch
from numpy.typing import NDArray
from prepared import changed, prepare, trained
from scipy.ndimage import distance_transform_edt

from hsipipe.artifacts import DegradedPairs
from hsipipe.artifacts.no_data import NO_DATA
from hsipipe.datasets.synthetic import wavelengths, write_scene
from hsipipe.evaluation.scoring import score
from hsipipe.inference.scene import predict_scene
from hsipipe.params import Params, SyntheticParams, load_params
from hsipipe.storage.stores import get_array, open_store, read

METHODS = ("bicubic", "pca-residual", "fusion-fast-regression")
SCENES, BANDS, SCALE = 8, 16, 4
TEST, VAL, SPARED = (5, 6, 7), 4, 3
"""Scenes for testing and validation, and the training scene that the third set lacks."""
AWAY = 2 * SCALE
"""Distance in HR pixels from which a pixel is not next to a hole: two LR pixels."""
METRICS = ("mpsnr_db", "sam_deg", "ergas", "mssim", "consistency_psnr_db")


def holes(size: int, number: int) -> NDArray[np.bool_]:
    """Pixels (H, W) without data: three stripes over a fifth of the columns, and a round cloud."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:size, :size]
    period = size / 3
    stripes = (x + 0.15 * y + rng.uniform(0, period)) % period < 0.2 * period
    cloud = np.hypot(y - rng.uniform(0.3, 0.7) * size, x - rng.uniform(0.3, 0.7) * size) < size / 8
    return stripes | cloud


def write_scenes(folder: Path, *, size: int, kind: str) -> None:
    params = SyntheticParams(scenes=SCENES, size=size, bands=BANDS, seed=0)
    for number in range(SCENES):
        if kind == "fewer" and number == SPARED:
            continue
        with tempfile.TemporaryDirectory() as place:
            write_scene(params, number, Path(place) / "scene.zarr")
            cube = read(get_array(open_store(Path(place) / "scene.zarr"), "reflectance"))
        if kind == "holes":
            cube[:, holes(size, number)] = np.nan
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"scene_{number}.npy", cube)


def params_for(folder: Path, *, steps: int) -> Params:
    params = load_params(ROOT / "params.yaml")
    own = {"full_scale": 1.0, "wavelength_nm": wavelengths(BANDS).tolist()}
    optimizer = {"steps": steps, "validate_every": steps // 5, "save_every": steps, "warmup": 20}
    return changed(
        params,
        {
            "dataset": {"name": "folder", "root": str(folder), "folder": own},
            "split": {
                "by": "scene",
                "test_scenes": [f"scene_{number}" for number in TEST],
                "val_scenes": [f"scene_{VAL}"],
            },
            "degradation": {"scale": SCALE, "srf": "rgb", "crop_remainder": True},
            "patches": {"size": 32, "stride": 16},
            "methods": {name: {"optimizer": optimizer} for name in METHODS if name != "bicubic"},
        },
    )


def run(root: Path, *, size: int, steps: int, kind: str) -> tuple[DegradedPairs, dict]:
    """Pairs of one set of scenes, and the methods that were trained on it."""
    write_scenes(root / "scenes", size=size, kind=kind)
    params = params_for(root / "scenes", steps=steps)
    prepare(params, root)
    methods = {
        name: trained(name, params, root, root / "trained").prepared(params.sampling.of(name)) for name in METHODS
    }
    return DegradedPairs.in_project(root), methods


def scores(sets: dict[str, tuple[DegradedPairs, dict]], name: str) -> dict:
    """Means over the test scenes: training, input and pixels of one row each."""
    (plain, mine), (masked, theirs) = sets["whole"], sets["holes"]
    rows: dict[str, list[dict[str, float]]] = {}
    for scene in masked.names("test"):
        full, open_ = plain.read("test", scene), masked.read("test", scene)
        away = distance_transform_edt(open_.valid) >= AWAY
        cases = {
            "without holes": (mine[name], full, open_.valid),
            "trained without holes on fewer scenes": (sets["fewer"][1][name], full, open_.valid),
            "trained with holes": (theirs[name], full, open_.valid),
            "trained and predicted with holes": (theirs[name], open_, open_.valid),
            "without holes, away from them": (mine[name], full, away),
            "trained and predicted with holes, away from them": (theirs[name], open_, away),
        }
        for case, (method, pair, mask) in cases.items():
            sr = predict_scene(method, pair.lr, msi=pair.msi if method.FUSES else None, tile=64, overlap=8)
            found = score(sr.clip(0, 1), pair.hr, SCALE, lr=pair.lr, valid=mask)
            rows.setdefault(case, []).append({key: found[key] for key in METRICS})
    return {case: {key: float(np.mean([row[key] for row in found])) for key in METRICS} for case, found in rows.items()}


def main() -> None:
    parser = arguments(__doc__ or "", result="no_data")
    parser.add_argument("--size", type=int, default=192, help="edge of a scene in pixels")
    parser.add_argument("--steps", type=int, default=500, help="steps of each training")
    options: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        sets = {
            kind: run(Path(place) / kind, size=options.size, steps=options.steps, kind=kind)
            for kind in ("whole", "holes", "fewer")
        }
        tables = {name: scores(sets, name) for name in METHODS}
        index = json.loads((Path(place) / "holes/data/raw/scenes.json").read_text())
        patches = {kind: len(origins(Path(place) / kind)) for kind in sets}
    record = {
        **environment("numpy", "torch"),
        "threads": 1,
        "scenes": {"count": SCENES, "size": options.size, "bands": BANDS, "scale": SCALE, "steps": options.steps},
        "no_data_share": float(np.mean([entry[NO_DATA] for entry in index["scenes"]])),
        "training_patches": patches,
        "methods": tables,
    }
    write_record(options.json, record)
    for name, rows in tables.items():
        for case, row in rows.items():
            print(f"| {name:24} | {case:50} | {row['mpsnr_db']:6.2f} | {row['sam_deg']:5.2f} | {row['mssim']:.4f} |")


def origins(root: Path) -> NDArray[np.int32]:
    return read(get_array(open_store(root / "data/patches/train.zarr"), "origin"))


if __name__ == "__main__":
    main()
