"""What sampling costs and brings: quality against network evaluations, and speed against the paper's way.

    dvc repro
    python benchmarks/sampling.py --root PROJECT        # both; PROJECT is where the pipeline has run
    python benchmarks/sampling.py --only speed          # needs no trained model; the other's figures are kept

quality: bicubic, the regression control, and the diffusion's own weights with every sampler at 1, 2, 4, 10, 20 and 100
steps, on validation scenes. The test scenes are left alone: what this table chooses is chosen on validation.
speed: one image of 64 x 64 x 102, the configuration of params.yaml against the preset dmgasr-paper with one group after
the other: 9 groups x 20 steps = 180 evaluations. Weights are random, which changes no time. Where 180 evaluations would
take longer than five minutes, one step (9 of them) is timed and the rest extrapolated, and the output says so.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from record import ROOT, environment, in_turn, median_ratio, read_record, row, show, write_record  # isort: skip

import numpy as np
import torch
from torch import Tensor

import hsipipe
from hsipipe.artifacts import DegradedPairs, DiffusionCheckpoint, GaeCheckpoint, RegressionCheckpoint
from hsipipe.degradation.bicubic import upsample
from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.dmgasr.latent_net import LatentNet
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.methods.networks.unet import Unet
from hsipipe.methods.presets import load_preset
from hsipipe.params import Params, load_params, parse_params

KEYS = ("mpsnr_db", "sam_deg", "consistency_psnr_db")
BANDS, LOW = 102, 16
# The paper's groups for 102 bands; the preset holds those for 31.
PAPER_GROUPS = {"n_subs": 16, "n_ovls": 4}
STEPS, EVALUATIONS = 20, 180
TARGET = 20
PATIENCE_S = 300


class OneGroupAtATime(LatentNet):
    """The same network and the same samples, with each group evaluated by itself, as the paper's code does."""

    def forward(self, noisy: Tensor, z_lr: Tensor, gamma: Tensor) -> Tensor:
        groups = zip(noisy.split(1, dim=1), z_lr.split(1, dim=1), strict=True)
        return torch.cat([super(OneGroupAtATime, self).forward(x, z, gamma) for x, z in groups], dim=1)


def measure_quality(options: argparse.Namespace) -> dict[str, object]:
    root = options.root
    params = load_params(root / "params.yaml")
    pairs, gae = DegradedPairs.in_project(root), GaeCheckpoint.in_project(root)
    scenes = [pairs.read("val", name) for name in pairs.names("val")[: options.scenes]]
    scale, tiles = params.degradation.scale, {"tile": params.sampling.tile, "overlap": params.sampling.overlap}
    low, high = (np.s_[:, :edge, :edge] for edge in (options.edge // scale, options.edge // scale * scale))
    scenes = [replace(pair, lr=pair.lr[low], hr=pair.hr[high]) for pair in scenes]

    def model(net, **changes):
        return Dmgasr.from_checkpoints(gae, net, sampling=params.sampling.model_copy(update=changes))

    models = {"bicubic": None, "regression": model(RegressionCheckpoint.in_project(root))}
    for sampler in SAMPLERS:
        for steps in options.steps:
            net = DiffusionCheckpoint.in_project(root)
            models[f"{sampler}, {steps}"] = model(net, sampler=sampler, steps=steps)
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


def measure_speed(options: argparse.Namespace) -> dict[str, object]:
    default = load_params(ROOT / "params.yaml")
    paper = parse_params(merged(default.model_dump(), load_preset("dmgasr-paper")), source="dmgasr-paper")
    paper = paper.model_copy(update={"gae": paper.gae.model_copy(update=PAPER_GROUPS)})
    lr = np.random.default_rng(0).random((1, BANDS, LOW, LOW), dtype=np.float32)
    slow, batch, fast = "paper, one group at a time", "paper, groups in the batch", "default"
    models = {
        slow: untrained(paper, OneGroupAtATime),
        batch: untrained(paper, LatentNet),
        fast: untrained(default, LatentNet),
    }
    calls = {name: count_calls(model, lr) for name, model in models.items()}
    if calls[slow] != EVALUATIONS:
        raise SystemExit(f"The reference made {calls[slow]} evaluations, expected {EVALUATIONS}.")
    seconds, timed = timed_images(models, lr, rounds=options.rounds)
    difference = float(np.abs(one_step(models[slow]).predict(lr) - one_step(models[batch]).predict(lr)).max())
    rows = []
    for name, model in models.items():
        size = sum(p.numel() for p in model.net.parameters()) / 1e6
        rows += [
            row(f"{name}: U-Net", size, "M param."),
            row(f"{name}: groups", model.gae.plan.count, ""),
            row(f"{name}: U-Net calls", calls[name], ""),
            row(f"{name}: time of an image", median(seconds[name]), "s"),
        ]
    ratio = median_ratio(seconds, slow, fast)
    rows += [
        row("default, times faster than one group at a time", ratio, "x", target=f">= {TARGET}", met=ratio >= TARGET),
        row("default, times faster than groups in the batch", median_ratio(seconds, batch, fast), "x"),
        row("groups in the batch, times faster than one at a time", median_ratio(seconds, slow, batch), "x"),
        row("largest difference between these two after one step", difference, ""),
    ]
    show(rows)
    note = f"random weights; medians of {options.rounds} rounds; "
    if timed == STEPS:
        note += f"every one of the {EVALUATIONS} evaluations was run"
    else:
        note += f"of the paper's {STEPS} steps {timed} was run, and its network's time multiplied by {STEPS // timed}"
    print(note)
    return {"image": [BANDS, 4 * LOW, 4 * LOW], "note": note, "rows": rows}


def timed_images(models: dict[str, Dmgasr], lr: np.ndarray, *, rounds: int) -> tuple[dict[str, list[float]], int]:
    """Seconds of an image for each model in each round, and how many of the paper's steps were really run.

    The default model takes its turn between the others several times, since it is so much shorter.
    """
    slow = next(iter(models))
    timed = STEPS if STEPS * image_seconds(one_step(models[slow]), lr, times=1) * rounds < PATIENCE_S else 1
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            if name == "default":
                seconds[name].append(median(image_seconds(model, lr, times=1) for _ in range(5)))
            elif timed == STEPS:
                seconds[name].append(image_seconds(model, lr, times=1))
            else:
                seconds[name].append(image_seconds(one_step(model), lr, times=STEPS))
    return seconds, timed


def image_seconds(model: Dmgasr, lr: np.ndarray, *, times: int) -> float:
    """Seconds of a prediction whose network's share counts `times` times; what lies around it counts once."""
    spent: list[float] = []
    net = model.net.unet
    before = net.register_forward_pre_hook(lambda *_: spent.append(-time.perf_counter()))
    after = net.register_forward_hook(lambda *_: spent.append(time.perf_counter()))
    start = time.perf_counter()
    model.predict(lr)
    total = time.perf_counter() - start
    before.remove()
    after.remove()
    return total + (times - 1) * sum(spent)


def one_step(model: Dmgasr) -> Dmgasr:
    return Dmgasr(model.gae, model.net, sampling=model.sampling.model_copy(update={"steps": 1}))


def merged(tree: dict, change: dict) -> dict:
    nested = {key: merged(tree[key], value) for key, value in change.items() if isinstance(tree.get(key), dict)}
    return {**tree, **change, **nested}


def untrained(params: Params, kind: type[LatentNet]) -> Dmgasr:
    """The model of the parameters for cubes of 102 bands, with random weights."""
    torch.manual_seed(0)
    gae, diffusion = GroupAutoencoder(BANDS, params.gae), params.diffusion
    how = diffusion.model_dump(include={"schedule", "steps", "space", "target", "scale_input"})
    unet = Unet(params.gae.latent_channels, diffusion.unet, patch=params.patches.size)
    net = kind(unet, objective="diffusion", scale=params.degradation.scale, **how)
    return Dmgasr(gae, net, sampling=params.sampling)


def count_calls(model: Dmgasr, lr: np.ndarray) -> int:
    """Network evaluations of an image, counted by one that does nothing in the place of the network."""

    class Counter(torch.nn.Module):
        calls = 0

        def forward(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
            self.calls += 1
            return noisy

    real, model.net.unet = model.net.unet, Counter()
    model.predict(lr)
    counter, model.net.unet = model.net.unet, real
    return counter.calls


PARTS = {"quality": measure_quality, "speed": measure_speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone")
    parser.add_argument("--root", type=Path, default=Path(), help="the project whose trained model is measured")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 10, 20, 100])
    parser.add_argument("--scenes", type=int, default=2, help="validation scenes at most")
    parser.add_argument("--edge", type=int, default=128, help="HR pixels of each scene's corner that is predicted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/sampling.json")
    options = parser.parse_args()
    record = {part: value for part, value in read_record(options.json).items() if part in PARTS}
    for part in options.only or PARTS:
        record[part] = {**environment("torch", "numpy"), "threads": torch.get_num_threads(), **PARTS[part](options)}
        print(f"{part}: {record[part]['machine']}")
    write_record(options.json, record)


if __name__ == "__main__":
    main()
