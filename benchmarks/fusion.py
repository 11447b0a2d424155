"""All models of an image pair on real scenes, in one run: docs/fusion.md.

    python benchmarks/fusion.py CAVE_FOLDER SRF_TABLE --work FOLDER --json benchmarks/results/fusion.json

For each scale, on the same test scenes with a Gaussian PSF of sigma = s / 2.35482 HR pixels: interpolation; the methods
that need no training; a model of a single image (pca-residual); and for each seed fusion-fast, the same network as a
regression, the plain control residual-fusion, ddpmfus and hsrdiff in the sizes of params.yaml. Every training gets the
same time (--seconds), by as many steps as a short trial says, with its own full schedule. Trainings and predictions
run in two processes of one thread each. What --work holds is not done again, and a training that was cut off goes on.
On a GPU: --processes 1.
"""

import argparse
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from record import CORES, ROOT, environment, write_record  # isort: skip

import numpy as np
import torch
from prepared import prepare

import hsipipe
from hsipipe.artifacts import DegradedPairs, PatchStore
from hsipipe.degradation.pairs import Pair, pair_names, pair_response, read_pair
from hsipipe.degradation.psf import make_psf
from hsipipe.evaluation.fusion_rows import UNTRAINED
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.base import SuperResolver
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.catalogue import load_model
from hsipipe.methods.device import device_for
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.params import Params, load_params, parse_params
from hsipipe.storage.publish import publish
from hsipipe.training.fusion import train_fusion
from hsipipe.training.fusion_recipes import RECIPES
from hsipipe.training.pca_residual import train_pca_residual

KEYS = ("mpsnr_db", "sam_deg", "ergas", "mssim", "consistency_psnr_db", "msi_consistency_psnr_db")
GROUPS = {"fusion-fast": "fusion_fast", "regression": "fusion_fast", "residual-fusion": "residual_fusion"}
TRIAL_STEPS = 8
PATCH, STRIDE = 128, 64
VALIDATIONS = 4
TEST = ["fake_and_real_food", "fake_and_real_peppers"]
VAL = ["beads", "flowers"]


def seeds_of(options: argparse.Namespace, model: str) -> list[int]:
    return options.seeds[:1] if model in options.one_seed else options.seeds


def group_of(model: str) -> str:
    return "control" if model == "pca-residual" else GROUPS.get(model, model)


def params_for(options: argparse.Namespace, scale: int) -> Params:
    tree = load_params(ROOT / "params.yaml").model_dump()
    tree["dataset"] |= {"name": "cave", "root": str(options.root.absolute())}
    tree["split"] |= {"test_scenes": TEST, "val_scenes": VAL}
    psf = {"kind": "gaussian", "sigma": scale / 2.35482}
    tree["degradation"]["psf"] |= psf
    tree["degradation"] |= {"scale": scale, "srf": str(options.srf.absolute())}
    tree["patches"] |= {"size": PATCH, "stride": STRIDE}
    small, whole = tree["hsrdiff"]["progressive"]
    small["size"], whole["size"] = PATCH // 2, PATCH
    return parse_params(tree)


def with_steps(params: Params, model: str, *, steps: int, seed: int) -> Params:
    """The model's schedule over `steps`; with hardly any it is a trial."""
    tree = params.model_dump()
    group = tree[group_of(model)]
    group["seed"] = seed
    every = max(1, steps // VALIDATIONS)
    warmup = min(group["optimizer"]["warmup"], steps // 10)
    group["optimizer"] |= {"steps": steps, "validate_every": every, "save_every": every, "warmup": warmup}
    return parse_params(tree)


def train_once(params: Params, model: str, root: Path, out: Path, work: Path) -> dict[str, float]:
    work.mkdir(parents=True, exist_ok=True)
    patches = PatchStore.in_project(root)
    how: dict[str, Any] = {"hardware": params.hardware, "work": work, "log": lambda step, metrics: None}
    if model == "pca-residual":
        return train_pca_residual(patches, out, control=params.control, **how)
    recipe = RECIPES["fusion-fast" if model == "regression" else model](params)
    objective = "diffusion" if model in ("fusion-fast", "ddpmfus", "hsrdiff") else "regression"
    return train_fusion(patches, out, recipe=recipe, objective=objective, description=model, **how)


def seconds_per_step(params: Params, model: str, root: Path, folder: Path) -> float:
    """From a short trial, its validations apart."""
    took = []
    for steps in (1, 1 + TRIAL_STEPS):
        tree = with_steps(params, model, steps=steps, seed=0).model_dump()
        tree[group_of(model)]["optimizer"]["validate_every"] = steps
        trial = parse_params(tree)
        for part in ("out", "work"):
            shutil.rmtree(folder / part, ignore_errors=True)
            (folder / part).mkdir(parents=True)
        took.append(train_once(trial, model, root, folder / "out", folder / "work")["train_seconds"])
    shutil.rmtree(folder)
    return max(1e-3, took[1] - took[0]) / TRIAL_STEPS


def steps_once(options: argparse.Namespace, params: Params, model: str, root: Path, work: Path) -> int:
    """How many steps fill the time; found once, so that a training that was cut off goes on."""
    work.mkdir(parents=True, exist_ok=True)
    known = work / "steps.json"
    if not known.exists():
        step_s = seconds_per_step(params, model, root, root / f".trial-{work.name}")
        known.write_text(json.dumps(max(2 * VALIDATIONS, round(options.seconds / step_s))))
    return int(json.loads(known.read_text()))


def train(job: tuple[argparse.Namespace, int, int, str]) -> None:
    options, scale, seed, model = job
    torch.set_num_threads(1)
    root = options.work / f"x{scale}"
    done = root / f"{model}-{seed}"
    if done.exists():
        return
    params = params_for(options, scale)
    work = root / "work" / done.name
    steps = steps_once(options, params, model, root, work)
    with publish(done) as out:
        summary = train_once(with_steps(params, model, steps=steps, seed=seed), model, root, out, work)
        (out / "training.json").write_text(json.dumps(summary))
    print(f"x{scale} {done.name}: {steps} steps, {summary['train_seconds']:.0f} s", flush=True)


def resolvers(options: argparse.Namespace, scale: int) -> dict[str, Callable[[], SuperResolver]]:
    """Everything in the table of one scale, by name and seed."""
    params = params_for(options, scale)
    psf, response = (
        make_psf(params.degradation.psf),
        pair_response(DegradedPairs(options.work / f"x{scale}/data/pairs")),
    )
    made: dict[str, Callable[[], SuperResolver]] = {"bicubic": partial(Bicubic, scale)}
    for kind in UNTRAINED:
        model = kind(scale=scale, psf=psf, response=response)
        made[model.name] = lambda model=model: model
    for name in options.models:
        for seed in seeds_of(options, name):
            made[f"{name}-{seed}"] = partial(trained, params, options.work / f"x{scale}/{name}-{seed}", name)
    return made


def trained(params: Params, folder: Path, name: str) -> SuperResolver:
    model = load_model(folder, device=str(device_for(params.hardware.accelerator)))
    if not isinstance(model, FusionModel):
        return model
    own = name in ("fusion-fast", "ddpmfus", "hsrdiff")
    steps = params.fusion.steps_of(name) if own else 1
    return model.with_sampling(params.sampling.model_copy(update={"steps": steps}))


def predict(job: tuple[argparse.Namespace, int, str]) -> None:
    options, scale, name = job
    torch.set_num_threads(1)
    root = options.work / f"x{scale}"
    target = root / f"scores-{name}.json"
    if target.exists():
        return
    pairs = DegradedPairs.in_project(root)
    psf, response = make_psf(params_for(options, scale).degradation.psf), pair_response(pairs)
    model, scores = resolvers(options, scale)[name](), {}
    for scene in pair_names(pairs, "test"):
        pair = read_pair(pairs, "test", scene)
        started = time.perf_counter()
        sr = whole(model, pair, untrained=not name[-1].isdigit())
        seconds = time.perf_counter() - started
        values = hsipipe.score(sr.clip(0, 1), pair.hr, scale, lr=pair.lr, psf=psf, msi=pair.msi, response=response)
        scores[scene] = {**{key: values[key] for key in KEYS}, "seconds": seconds}
    target.write_text(json.dumps(scores))
    print(f"x{scale} {name}: {np.mean([s['mpsnr_db'] for s in scores.values()]):.2f} dB", flush=True)


def whole(model: SuperResolver, pair: Pair, *, untrained: bool) -> np.ndarray:
    msi = None if model.msi_bands == 0 else pair.msi
    if untrained:
        return model.predict(pair.lr[None], **({} if msi is None else {"msi": msi[None]}))[0]
    # Attention over all pixels of a tile: the papers' networks are given tiles of about the size that they learn on.
    large = model.name not in ("ddpmfus", "hsrdiff")
    tile = 64 if large else max(8, 192 // model.scale)
    return predict_scene(model, pair.lr, msi=msi, tile=tile, overlap=8 if large else tile // 6)


def collect(options: argparse.Namespace, scale: int) -> dict[str, dict[str, Any]]:
    """Row to its means over scenes; of trained ones, of each seed, with their mean and deviation."""
    root, rows = options.work / f"x{scale}", {}
    for name in ["bicubic", *(kind(scale=scale, psf=None).name for kind in UNTRAINED)]:
        rows[name] = means(json.loads((root / f"scores-{name}.json").read_text()))
    for name in options.models:
        seeds = seeds_of(options, name)
        each = [json.loads((root / f"scores-{name}-{seed}.json").read_text()) for seed in seeds]
        trainings = [json.loads((root / f"{name}-{seed}/training.json").read_text()) for seed in seeds]
        per_seed = [means(scores) for scores in each]
        rows[name] = {key: float(np.mean([values[key] for values in per_seed])) for key in per_seed[0]}
        rows[name] |= (
            {f"{key}_std": float(np.std([v[key] for v in per_seed], ddof=1)) for key in KEYS} if len(each) > 1 else {}
        )
        rows[name] |= {"seeds": per_seed, "parameters": trainings[0]["parameters"]}
        rows[name] |= {key: [t[key] for t in trainings] for key in ("steps", "train_seconds", "val_mpsnr_db")}
    return rows


def means(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([values[key] for values in scores.values()])) for key in (*KEYS, "seconds")}


def show(scale: int, rows: Mapping[str, Mapping[str, Any]]) -> None:
    print(f"\nx{scale} | MPSNR dB | gain | SAM deg | ERGAS | MSSIM | LR dB | MSI dB | s/image")
    for name, row in rows.items():
        spread = f"±{row['mpsnr_db_std']:.2f}" if "mpsnr_db_std" in row else ""
        sam = f"±{row['sam_deg_std']:.2f}" if "sam_deg_std" in row else ""
        gain = row["mpsnr_db"] - rows["bicubic"]["mpsnr_db"]
        print(
            f"| {name:15} | {row['mpsnr_db']:.2f}{spread} | {gain:+.2f} | {row['sam_deg']:.2f}{sam} | "
            f"{row['ergas']:.3f} | {row['mssim']:.4f} | {row['consistency_psnr_db']:.1f} | "
            f"{row['msi_consistency_psnr_db']:.1f} | "
            f"{row['seconds']:.1f} |"
        )


def in_processes(function: Callable[[Any], None], jobs: Iterable[Any], *, processes: int) -> None:
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=1) as pool:
        for _ in pool.imap_unordered(function, list(jobs)):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with <scene>_ms folders")
    parser.add_argument("srf", type=Path, help="table of the MSI's spectral response")
    parser.add_argument("--scales", type=int, nargs="+", default=[8, 4, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--models",
        nargs="+",
        default=["pca-residual", "residual-fusion", "ddpmfus", "hsrdiff", "regression", "fusion-fast"],
    )
    parser.add_argument("--one-seed", nargs="+", default=[], help="models that are trained with the first seed alone")
    parser.add_argument("--seconds", type=float, default=240, help="of each training, validations apart")
    parser.add_argument("--processes", type=int, default=CORES, help="at once; 1 on a GPU")
    parser.add_argument("--work", type=Path, required=True, help="keep data and trainings here")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    where = environment("torch", "numpy", "scipy")
    tables, how = {}, {"processes": options.processes}
    for scale in options.scales:
        prepare(params_for(options, scale), options.work / f"x{scale}")
        jobs = [(options, scale, seed, model) for model in options.models for seed in seeds_of(options, model)]
        in_processes(train, jobs, **how)
        in_processes(predict, [(options, scale, name) for name in resolvers(options, scale)], **how)
        tables[scale] = collect(options, scale)
        show(scale, tables[scale])
        if options.json:
            frame = {"train_budget_s": options.seconds, "threads": 1, "test": TEST, "val": VAL}
            write_record(options.json, {"environment": where, **frame, "scales": tables})


if __name__ == "__main__":
    main()
