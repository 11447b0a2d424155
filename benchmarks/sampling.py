"""Measure quality against network evaluations (NFE) on validation scenes: docs/adr/0004-one-evaluation-by-default.md.

    make repro ARGS="-S compare=[bicubic,dmgasr-latent,dmgasr-regression]"
    python benchmarks/sampling.py --root PROJECT        # PROJECT is where the pipeline has run

Rows: bicubic; the regression baseline; and the diffusion's weights with every sampler at 1, 2, 4, 10, 20 and 100 steps.
Test scenes are not read: settings are chosen on validation.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median

from record import arguments, environment, in_turn, write_record  # isort: skip

import numpy as np
import torch

import hsipipe
from hsipipe.artifacts import DegradedPairs
from hsipipe.degradation.bicubic import upsample
from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.inference.scene import predict_scene
from hsipipe.params import load_params

KEYS = ("mpsnr_db", "sam_deg", "consistency_psnr_db")


def measure(options: argparse.Namespace) -> dict[str, object]:
    root = options.root
    params = load_params(root / "params.yaml")
    pairs = DegradedPairs.in_project(root)
    scenes = [pairs.read("val", name) for name in pairs.names("val")[: options.scenes]]
    scale, tiles = params.degradation.scale, {"tile": params.sampling.tile, "overlap": params.sampling.overlap}
    low, high = (np.s_[:, :edge, :edge] for edge in (options.edge // scale, options.edge // scale * scale))
    scenes = [replace(pair, lr=pair.lr[low], hr=pair.hr[high]) for pair in scenes]

    def model(name, **changes):
        return hsipipe.load_model(root / "models" / name).prepared(params.sampling.model_copy(update=changes))

    models = {"bicubic": None, "regression": model("dmgasr-regression")}
    for sampler in SAMPLERS:
        for steps in options.steps:
            models[f"{sampler}, {steps}"] = model("dmgasr-latent", sampler=sampler, steps=steps)
    predictions: dict[str, list[np.ndarray]] = {}

    def predict(name: str) -> None:
        net = models[name]
        predictions[name] = [
            upsample(pair.lr, scale) if net is None else predict_scene(net, pair.lr, **tiles) for pair in scenes
        ]

    seconds = in_turn({name: lambda name=name: predict(name) for name in models}, rounds=options.rounds)
    table = {}
    print("| row            | NFE | MPSNR dB | SAM deg | consistency dB | s/image |")
    for name, net in models.items():
        scores = [
            hsipipe.score(sr.clip(0, 1), pair.hr, scale=scale, lr=pair.lr)
            for sr, pair in zip(predictions[name], scenes, strict=True)
        ]
        values = {key: round(float(np.mean([s[key] for s in scores])), 4) for key in KEYS}
        spent = round(median(seconds[name]) / len(scenes), 5)
        table[name] = {"nfe": 0 if net is None else net.nfe, **values, "seconds_per_image": spent}
        columns = "{nfe:3} | {mpsnr_db:8.2f} | {sam_deg:7.2f} | {consistency_psnr_db:14.2f} | {seconds_per_image:7.3f}"
        print(f"| {name:14} | {columns.format(**table[name])} |")
    return {
        "dataset": params.dataset.name,
        "scale": scale,
        "scenes": [pair.name for pair in scenes],
        "shape": list(scenes[0].hr.shape),
        "rounds": options.rounds,
        "rows": table,
    }


def main() -> None:
    parser = arguments(__doc__, result="sampling")
    parser.add_argument("--root", type=Path, default=Path(), help="the project whose trained model is measured")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 10, 20, 100])
    parser.add_argument("--scenes", type=int, default=2, help="validation scenes at most")
    parser.add_argument("--edge", type=int, default=128, help="HR pixels of each scene's corner that is predicted")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    where = {**environment("torch", "numpy"), "threads": torch.get_num_threads()}
    write_record(options.json, {"quality": {**where, **measure(options)}})


if __name__ == "__main__":
    main()
