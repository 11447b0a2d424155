"""Fusion that knows the pair alone: methods without training on CAVE, and `hsipipe sharpen` on the pairs of EO-1.

    OMP_NUM_THREADS=1 python benchmarks/fitted_to_pair.py CAVE_FOLDER PARIS_FOLDER

CAVE: test scenes at x8 and x32, bicubic PSF, known response of an RGB camera. EO-1: the pairs of
benchmarks/real_pair.py with its PSFs (reduced resolution: MTF 0.3; full resolution: estimated); the response is
estimated.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from record import arguments, environment, write_record  # isort: skip

import numpy as np
import torch
from real_pair import MTF, SCALE, cubes, find

import hsipipe
from hsipipe.commands.sharpen_file import SharpenOptions, sharpen_file
from hsipipe.degradation.estimate import estimate_psf
from hsipipe.degradation.psf import Psf
from hsipipe.degradation.srf import apply_response, response
from hsipipe.evaluation.fusion_metrics import without_truth
from hsipipe.inference.pair import MsiFile
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.catalogue import methods

SCENES = ("cloth_ms", "face_ms", "fake_and_real_food_ms", "feathers_ms")
ROWS = ("bicubic", "sfim", "gsa", "mtf-glp", "fuse", "guided-projection", "spectralift")
SCORES = ("mpsnr_db", "sam_deg", "ergas")
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]
Table = dict[str, dict[str, float]]


def predictor(name: str, scale: int, psf: Psf, matrix: np.ndarray | None = None) -> Predict:
    def predict(lr: np.ndarray, msi: np.ndarray) -> np.ndarray:
        model = methods()[name](scale) if name == "bicubic" else methods()[name](scale, psf, matrix)
        return predict_scene(model, lr, msi=msi if model.FUSES else None, tile=128, overlap=8)

    return predict


def cave(folder: Path, scale: int) -> Table:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ROWS}
    for scene in SCENES:
        cube = hsipipe.open_cube(folder / scene)
        hr = np.ascontiguousarray(cube.to_numpy(), dtype=np.float32)
        psf, matrix = Psf(), response("rgb", cube["wavelength_nm"].to_numpy().tolist(), bands=len(hr))
        lr, msi = psf.downsample(hr, scale), apply_response(matrix, hr).astype(np.float32)
        for name in ROWS:
            sr = predictor(name, scale, psf, matrix)(lr, msi).clip(0, 1)
            scores = hsipipe.score(sr, hr, scale, lr=lr)
            found[name].append({key: scores[key] for key in SCORES})
    return {name: {key: float(np.mean([row[key] for row in rows])) for key in SCORES} for name, rows in found.items()}


def eo1(lr: np.ndarray, msi: np.ndarray, psf: Psf, minutes: float, *, truth: np.ndarray | None = None) -> Table:
    """Rows of all methods, of the truth, and of `hsipipe sharpen`, which is told the MTF where there is a truth."""
    chosen = {"sharpen": sharpened(minutes, mtf=None if truth is None else MTF)}
    table = {}
    for name, predict in {**{name: predictor(name, SCALE, psf) for name in ROWS}, **chosen}.items():
        sr = predict(lr, msi)
        scores = {} if truth is None else hsipipe.score(sr, truth, SCALE, lr=lr, psf=psf)
        kept = {key: scores[key] for key in SCORES if key in scores}
        table[name] = kept | without_truth(sr, lr, msi, scale=SCALE, psf=psf)
    if truth is not None:
        table["truth"] = without_truth(truth, lr, msi, scale=SCALE, psf=psf)
    return table


def sharpened(minutes: float, *, mtf: float | None) -> Predict:
    def predict(lr: np.ndarray, msi: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory() as place:
            files = [Path(place) / f"{name}.npy" for name in ("lr", "msi", "out")]
            np.save(files[0], lr)
            np.save(files[1], msi)
            options = SharpenOptions(minutes=minutes, full_scale=1.0, mtf=mtf)
            print(sharpen_file(files[0], files[2], options, msi=MsiFile(files[1])).sentence())
            return np.load(files[2])

    return predict


def main() -> None:
    parser = arguments(__doc__ or "", result="fitted_to_pair")
    parser.add_argument("cave", type=Path, help="folder with <scene>_ms folders")
    parser.add_argument("paris", type=Path, help="folder with paris_hyperion_ali_hs_ms.mat and ..._hs_pan.mat")
    parser.add_argument("--minutes", type=float, default=2.0, help="time of `hsipipe sharpen`")
    options = parser.parse_args()
    where = environment("torch", "numpy")
    torch.set_num_threads(1)
    truth, msi = cubes(find(options.paris, "*hs_ms.mat"), "MSim", crop=SCALE)
    psf = Psf("gaussian", mtf=MTF)
    low, pan = cubes(find(options.paris, "*hs_pan.mat"), "PCim", crop=1)
    tables = {
        "EO-1, reduced resolution": eo1(psf.downsample(truth, SCALE), msi, psf, options.minutes, truth=truth),
        "EO-1, full resolution": eo1(low, pan, estimate_psf(low, pan, scale=SCALE), options.minutes),
        **{f"CAVE x{scale}": cave(options.cave, scale) for scale in (8, 32)},
    }
    write_record(options.json, {**where, "threads": 1, "minutes": options.minutes, "tables": tables})
    for title, table in tables.items():
        print(f"\n{title}: {', '.join(next(iter(table.values())))}")
        for name, values in table.items():
            print(f"| {name:18} | {' | '.join(f'{value:.3f}' for value in values.values())} |")


if __name__ == "__main__":
    main()
