"""Compare the quality that `hsipipe sharpen` states with the truth: docs/sharpen.md.

    python benchmarks/sharpen.py /data/remote_sensing --minutes 2

The true scene is held out: it is degraded by the ratio with a Gaussian PSF, the degraded scene is sharpened as a file,
and the result is compared with the true scene. "stated" is the gain over bicubic interpolation on the held-out region
at reduced resolution, "true" the gain on the whole true scene. There are three parts:

stored: the truth is the scene as stored. Its MTF at the Nyquist frequency is unknown, and sharper than that of the
    degraded scene.
sensor: the truth is the scene as a sensor of the assumed MTF would observe it at this resolution, as Wald's protocol
    assumes.
itself: at x4 the degraded scenes have 25 x 25 pixels or less, too few to train a network; so each scene is sharpened
    itself, without a truth.

Trainings use one thread and a wall-clock budget: on a busy machine they take fewer steps, which the record has.
"""

import tempfile
from pathlib import Path

from record import arguments, environment, read_record, row, show, write_record  # isort: skip

import numpy as np
import torch

import hsipipe
from hsipipe.commands.sharpen_file import SharpenOptions, sharpen_file
from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.psf import Psf
from hsipipe.full_scale import likely_full_scale
from hsipipe.inference.scene import predict_scene
from hsipipe.sharpen.reduced import OVERLAP, TILE
from hsipipe.sharpen.scores import score_valid

SCENES = {
    "Jasper Ridge": ("jasper_ridge_r198.mat", None),
    "ABU urban-3": ("abu-urban-3.mat", "data"),
    "ABU urban-4": ("abu-urban-4.mat", "data"),
    "Salinas-A": ("salinas_a_corrected.mat", None),
    "Pavia bridge": ("pavia_centre_bridge.mat", "data"),
    "MUUFL": ("muufl_gulfport.mat", "data"),
}
MTF = 0.3
SCALES = (2, 4)
PARTS = ("stored", "sensor", "itself")


def main():
    parser = arguments(__doc__, result="sharpen")
    parser.add_argument("folder", type=Path, help="folder of the scenes")
    parser.add_argument("--minutes", type=float, default=2.0, help="as of hsipipe sharpen")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="others are kept in the record")
    options = parser.parse_args()
    torch.set_num_threads(1)
    where = environment("torch", "numpy")
    found = {}
    for part in options.parts:
        results = found.setdefault(part, {})
        for scale in SCALES if part != "itself" else (4,):
            for name in options.scenes:
                cube = read(options.folder / SCENES[name][0], SCENES[name][1], scale)
                if part == "itself":
                    entry = without_truth(cube, options.minutes)
                else:
                    entry = against_truth(cube, scale, options.minutes, blurred=part == "sensor")
                results[f"{name} x{scale}"] = entry
                print(f"{part}: {name} x{scale}:", entry, flush=True)
    earlier = {part: results for part, results in read_record(options.json).items() if part in PARTS}
    found = earlier | found
    rows = summary(found)
    show(rows)
    record = {"environment": where, "minutes": options.minutes, "threads": 1, "mtf": MTF, "rows": rows}
    write_record(options.json, record | found)


def read(path, variable, scale):
    """A scene in the range of 1.0 without constant bands, whose size can be divided twice."""
    cube = hsipipe.open_cube(path, variable=variable)
    height, width = (n - n % scale for n in cube.shape[1:])
    cube = cube[:, :height, :width]
    values = cube.to_numpy()
    usable = values.min(axis=(1, 2)) < values.max(axis=(1, 2))
    return cube.isel(band=np.flatnonzero(usable)) / likely_full_scale(float(values.max()))


def sharpened(cube, scale, minutes):
    """The report of a cube that is sharpened as a file, and the result (C, H, W)."""
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place) / "scene.nc", Path(place) / "sharp.npy"
        hsipipe.save_cube(cube, source)
        options = SharpenOptions(scale=scale, minutes=minutes, mtf=MTF, full_scale=1.0)
        return sharpen_file(source, target, options), np.load(target)


def against_truth(cube, scale, minutes, *, blurred):
    truth = np.ascontiguousarray(cube.to_numpy(), dtype=np.float32)
    if blurred:
        truth = Psf("gaussian", mtf=MTF).downsample(truth, 1)
    low = hsipipe.degrade(cube.copy(data=truth), scale, psf=Psf("gaussian", mtf=MTF))
    report, sr = sharpened(low, scale, minutes)
    everywhere = np.ones(truth.shape[1:], bool)
    values = low.to_numpy()

    def gain(image):
        return score_valid(image, truth, everywhere, scale=scale).mpsnr_db - bicubic["mpsnr_db"]

    bicubic = score_valid(upsample(values, scale), truth, everywhere, scale=scale).metrics
    candidates = {
        entry.name: {
            "stated_gain_db": rounded(entry.judge.mpsnr_db - report.comparison.baseline.judge.mpsnr_db),
            "true_gain_db": rounded(gain(predict_scene(entry.model, values, tile=TILE, overlap=OVERLAP))),
            **({"training": entry.note} if entry.note else {}),
        }
        for entry in report.comparison.candidates[1:]
    }
    ours = score_valid(sr, truth, everywhere, scale=scale).metrics
    return {
        "pixels": list(values.shape[1:]),
        "method": report.comparison.chosen.name,
        "stated_gain_db": rounded(report.comparison.gain_db),
        "true_gain_db": rounded(ours["mpsnr_db"] - bicubic["mpsnr_db"]),
        "bicubic": {key: rounded(value) for key, value in bicubic.items()},
        "result": {key: rounded(value) for key, value in ours.items()},
        "candidates": candidates,
        "skipped": report.comparison.skipped,
    }


def without_truth(cube, minutes):
    report, _ = sharpened(cube, 4, minutes)
    entries = report.comparison.candidates
    return {
        "pixels": list(cube.shape[1:]),
        "method": report.comparison.chosen.name,
        "stated_gain_db": rounded(report.comparison.gain_db),
        "candidates": {
            entry.name: {
                "stated_gain_db": rounded(entry.judge.mpsnr_db - entries[0].judge.mpsnr_db),
                "training": entry.note,
            }
            for entry in entries[1:]
        },
    }


def summary(found):
    stated = [entry["stated_gain_db"] for results in found.values() for entry in results.values()]
    rows = [row("smallest stated gain", min(stated), "dB", target=">= 0", met=min(stated) >= 0)]
    for part in [part for part in PARTS if part in found and part != "itself"]:
        for scale in SCALES:
            some = [entry for name, entry in found[part].items() if name.endswith(f"x{scale}")]
            gains = np.array([(entry["stated_gain_db"], entry["true_gain_db"]) for entry in some])
            apart, mean = gains[:, 0] - gains[:, 1], float(gains[:, 1].mean())
            best = [max(one["true_gain_db"] for one in entry["candidates"].values()) for entry in some]
            goal = {"target": ">= 1.5", "met": mean >= 1.5} if scale == 2 else {}
            name, close = f"{part} x{scale}", bool(abs(apart.mean()) <= 0.5)
            rows += [
                row(f"{name}: mean true gain", mean, "dB", **goal),
                row(f"{name}: smallest true gain", gains[:, 1].min(), "dB"),
                row(f"{name}: mean true gain of the best candidate", np.mean(best), "dB"),
                row(f"{name}: stated - true, mean", apart.mean(), "dB", target="+-0.5", met=close),
                row(f"{name}: |stated - true|, mean", np.abs(apart).mean(), "dB"),
            ]
    return rows


def rounded(value):
    return round(float(value), 3)


if __name__ == "__main__":
    main()
