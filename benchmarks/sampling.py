"""Network evaluations against quality and time, on the validation scenes of a pipeline that has run.

    dvc repro
    python benchmarks/sampling.py --json benchmarks/results/sampling.json

Rows: bicubic, the regression control, and the diffusion's own weights with 1, 2, 4, 10 and 20 DDIM steps. The test
scenes are left alone: what is chosen by this table is chosen on validation.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np

import hsipipe
from hsipipe.artifacts import DegradedPairs, DiffusionCheckpoint, GaeCheckpoint, RegressionCheckpoint
from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.pairs import pair_names, read_pair
from hsipipe.inference.scene import predict_scene
from hsipipe.models.dmgasr import Dmgasr
from hsipipe.params import load_params

KEYS = ("mpsnr_db", "sam_deg", "consistency_psnr_db")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="the project")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 10, 20])
    parser.add_argument("--scenes", type=int, default=2, help="validation scenes at most")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    root = options.root
    params = load_params(root / "params.yaml")
    pairs, gae = DegradedPairs.in_project(root), GaeCheckpoint.in_project(root)
    scenes = [read_pair(pairs, "val", name) for name in pair_names(pairs, "val")[: options.scenes]]
    scale, tiles = params.degradation.scale, {"tile": params.sampling.tile, "overlap": params.sampling.overlap}

    def model(net, **changes):
        return Dmgasr.from_checkpoints(gae, net, sampling=params.sampling.model_copy(update=changes))

    rows = {"bicubic": None, "regression": model(RegressionCheckpoint.in_project(root))}
    for steps in options.steps:
        rows[f"diffusion, {steps} steps"] = model(DiffusionCheckpoint.in_project(root), steps=steps)
    results = {}
    for name, net in rows.items():
        if net is not None:
            net.predict(scenes[0].lr[None, :, :8, :8])  # torch's first call is not the model's time
        scores, seconds = [], []
        for pair in scenes:
            start = time.perf_counter()
            sr = upsample(pair.lr, scale) if net is None else predict_scene(net, pair.lr, **tiles)
            seconds.append(time.perf_counter() - start)
            scores.append(hsipipe.score(sr.clip(0, 1), pair.hr, scale=scale))
        results[name] = {key: float(np.mean([s[key] for s in scores])) for key in KEYS}
        results[name] |= {"seconds_per_image": float(np.mean(seconds)), "nfe": 0 if net is None else net.nfe}
        row = results[name]
        print(
            f"{name:22} NFE {row['nfe']:3}  MPSNR {row['mpsnr_db']:6.2f} dB  SAM {row['sam_deg']:5.2f} deg  "
            f"consistency {row['consistency_psnr_db']:6.2f} dB  {row['seconds_per_image']:7.3f} s"
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "dataset": params.dataset.name,
            "scale": scale,
            "scenes": [pair.name for pair in scenes],
            "machine": f"{platform.machine()}, CPU",
            "rows": results,
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
