"""Score a model with spectral windows on sensors other than the trained one: docs/adr/0009-wavelength-windows.md.

    python benchmarks/sensors.py CAVE_FOLDER --json benchmarks/results/sensors.json

Trains on the CAVE scenes in the folder (31 bands at 10 nm) with params.yaml and gae.standard.window_nm, and predicts
the test scenes as other sensors see them. Rows of each sensor: bicubic; the model bound to the sensor; and, as a bound
that no user of that sensor has, the same model on all 31 bands and its output brought to the sensor's bands. With
--plain the model of params.yaml as it is (groups by band number, global decoder) is trained, too. One thread, some
minutes.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from record import ROOT, environment, write_record  # isort: skip

import numpy as np
import torch
from prepared import changed, prepare, trained

import hsipipe
from hsipipe.artifacts import DegradedPairs, Pair
from hsipipe.degradation.bicubic import upsample
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.params import Params, load_params

WINDOW_NM = 80.0
KEYS = ("mpsnr_db", "sam_deg")
FWHM_PER_SIGMA = 2.3548
OWN = "31 bands at 10 nm (as trained)"

Sensor = tuple[np.ndarray, np.ndarray]
"""Band centres in nm (C,), and the responses (C, 31) that make its cubes out of CAVE's."""


def sensors(nm: np.ndarray) -> dict[str, Sensor]:
    every = np.eye(len(nm))
    part = (nm >= 460) & (nm <= 650)
    gap = (nm < 540) | (nm > 580)
    rng = np.random.default_rng(0)
    steps = rng.uniform(0.5, 1.5, size=19)
    irregular = 404 + np.concatenate([[0], np.cumsum(steps)]) * (296 - 4) / steps.sum()
    return {
        OWN: (nm, every),
        "16 bands at 20 nm": (nm[::2], every[::2]),
        "20 bands at irregular centres": (irregular, gaussians(irregular, nm)),
        "20 bands, 460 to 650 nm": (nm[part], every[part]),
        "26 bands, none from 540 to 580 nm": (nm[gap], every[gap]),
    }


def centres(pairs: list[Pair]) -> np.ndarray:
    return np.asarray(pairs[0].wavelength_nm)


def gaussians(middles: np.ndarray, nm: np.ndarray) -> np.ndarray:
    """Responses as wide as the bands lie apart, at least those of CAVE."""
    fwhm = np.maximum(np.gradient(middles), 10.0)[:, None]
    weights = np.exp(-0.5 * ((nm - middles[:, None]) * FWHM_PER_SIGMA / fwhm) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def dmgasr(params: Params, root: Path, folder: str) -> Dmgasr:
    model = trained("dmgasr-latent", params, root, root / folder).prepared(params.sampling)
    print(f"trained {folder}", flush=True)
    return model


def seen_by(response: np.ndarray, cube: np.ndarray) -> np.ndarray:
    return np.einsum("kc,chw->khw", response, cube).astype(np.float32)


def compare(model: Dmgasr, sensor: Sensor, pairs: list[Pair], tiles: Mapping[str, int]) -> dict[str, dict[str, float]]:
    nm, response = sensor
    bound = model.for_wavelengths(nm.tolist())
    scores: dict[str, list[dict[str, float]]] = {}
    for pair in pairs:
        lr, hr = seen_by(response, pair.lr), seen_by(response, pair.hr)
        rows = {
            "bicubic": upsample(lr, model.scale),
            "model, bound to the sensor": predict_scene(bound, lr, **tiles),
            "model on all bands, then the sensor": seen_by(response, predict_scene(model, pair.lr, **tiles)),
        }
        for name, sr in rows.items():
            scores.setdefault(name, []).append(score(sr, hr, model.scale))
    return {name: means(found) for name, found in scores.items()}


def score(sr: np.ndarray, hr: np.ndarray, scale: int) -> dict[str, float]:
    return hsipipe.score(sr.clip(0, 1), hr, scale=scale)


def means(scores: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(float(np.mean([score[key] for score in scores])), 4) for key in KEYS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with <scene>_ms folders")
    parser.add_argument("--steps", type=int, help="of the diffusion; default: as in params.yaml")
    parser.add_argument("--plain", action="store_true", help="also train without windows, for the trained sensor")
    parser.add_argument("--work", type=Path, help="keep data and trainings here, and go on with what is there")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    params = load_params(ROOT / "params.yaml")
    params = changed(params, {"dataset": {"name": "cave", "root": str(options.root.absolute())}})
    if options.steps:
        params = changed(params, {"methods": {"dmgasr-latent": {"optimizer": {"steps": options.steps}}}})
    windows = changed(params, {"gae": {"standard": {"window_nm": WINDOW_NM, "global_decoder": False}}})
    tiles = {"tile": params.sampling.tile, "overlap": params.sampling.overlap}
    with tempfile.TemporaryDirectory() as folder:
        root = options.work or Path(folder)
        prepare(params, root)
        pairs = DegradedPairs.in_project(root)
        test = [pairs.read("test", name) for name in pairs.names("test")]
        model = dmgasr(windows, root, "windows")
        table = {name: compare(model, sensor, test, tiles) for name, sensor in sensors(centres(test)).items()}
        if options.plain:
            plain = dmgasr(params, root, "plain")
            table[OWN]["groups by number, as in params.yaml"] = means(
                [score(predict_scene(plain, pair.lr, **tiles), pair.hr, plain.scale) for pair in test]
            )
    names = [pair.name for pair in test]
    print(f"mean of {', '.join(names)}, x{params.degradation.scale}")
    for sensor, rows in table.items():
        for row, values in rows.items():
            print(f"| {sensor:34} | {row:36} | {values['mpsnr_db']:6.2f} | {values['sam_deg']:5.2f} |")
    if options.json:
        record = {
            "environment": environment("torch", "numpy"),
            "threads": 1,
            "scenes": names,
            "scale": params.degradation.scale,
            "window_nm": WINDOW_NM,
            "diffusion_steps": params.methods["dmgasr-latent"]["optimizer"]["steps"],
            "rows": table,
        }
        write_record(options.json, record)


if __name__ == "__main__":
    main()
