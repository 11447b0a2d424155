"""One piece of the work: what is not done yet, until the deadline; then the tests; all of it into the record."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from cave import MODELS, MORE_TO_DO, NOTHING, ROOT
from journal import Record
from packing import SUFFIX, unpack
from settings import settings
from trainings import OutOfTimeError, Train, Training, plan

from hsipipe.artifacts import (
    ControlCheckpoint,
    DegradedPairs,
    DiffusionCheckpoint,
    GaeCheckpoint,
    LatentStore,
    PatchStore,
    RawScenes,
    RegressionCheckpoint,
)
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.evaluation.evaluate import evaluate
from hsipipe.evaluation.rows import AnyRow, baseline_row, model_row
from hsipipe.methods.device import device_for
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.params import Group
from hsipipe.patches.extract import extract_patches
from hsipipe.protocols import make_protocol
from hsipipe.storage.publish import atomic_folder, publish
from hsipipe.training.diffusion import train_diffusion
from hsipipe.training.gae import train_gae
from hsipipe.training.latents import encode_latents
from hsipipe.training.pca_residual import train_pca_residual

CONTROL = "pca-residual"
GROUPS = {"gae": "gae", "diffusion": "diffusion", "regression": "diffusion", "control": "control"}
"""A training's group of params.yaml."""
SHARES = {"gae": 0.5, "diffusion": 1.0, "regression": 1.0, "control": 1.5}
"""A training's part of --train-seconds."""
METRICS = ("mpsnr_db", "sam_deg", "ssim", "ergas", "seconds_per_image", "nfe")


class Piece:
    """The work folder, and what this process does in it."""

    def __init__(self, options: argparse.Namespace) -> None:
        budget = 60 * options.budget_minutes
        reserve = budget / 5 if options.reserve_seconds is None else options.reserve_seconds
        self.begun, self.deadline = options.child - budget, options.child - reserve
        self.work, self.seconds, self.tiny = options.work.resolve(), options.train_seconds, options.tiny
        self.work.mkdir(parents=True, exist_ok=True)
        models = [options.only] if options.only else list(MODELS)
        # The control stands before the last model, which takes longest.
        self.names = [*models[:-1], CONTROL, models[-1]] if len(models) > 1 else [*models, CONTROL]
        packed = any(options.data.glob(f"*{SUFFIX}"))
        what = {"data": options.data.name, "tiny": self.tiny, "train_seconds": self.seconds, "models": self.names}
        what["compile"] = options.compile
        self.record = Record(self.work, options.json, root=ROOT, commit=options.commit, what=what)
        self.record.write()
        scenes = self._unpacked(options.data) if packed else options.data.resolve()
        self.params = {}
        for name in self.names:
            self.params[name], changes = settings(
                ROOT, name, scenes, packed=packed, tiny=self.tiny, compiled=options.compile
            )
            self.record.model(name, changes=changes)

    def _unpacked(self, data: Path) -> Path:
        target = self.work / "scenes"
        if not target.exists():
            with atomic_folder(target) as out:
                unpack(data, out)
        return target

    def run(self) -> int:
        """Work until the deadline, test what there is, and say how to go on."""
        try:
            for job in self.jobs():
                job()
            self.record.tree["done"] = True
        except OutOfTimeError:
            self.record.piece["ended"] = "in time, with more to do"
        self.record.write()
        for name in self.names:
            self.test(name)
        done = self.record.tree["done"]
        if done:
            self.record.piece["ended"] = "all is done"
        self.record.piece["seconds"] = round(time.time() - self.begun, 1)
        self.record.write()
        self.show()
        if done:
            print("All is done.")
            return 0
        if not (self.record.piece["did"] or self.record.piece["saves"]):
            print(NOTHING)
            return 1
        print("There is more to do: run the same command again.")
        return MORE_TO_DO

    # What is done, in this order. Each is published whole, so what is there is done.

    def jobs(self) -> Iterator[Callable[[], None]]:
        first = self.params[self.names[0]]
        raw = RawScenes(self.work / "raw")
        yield self.job("scenes", raw.path, lambda out: prepare_scenes(first.dataset, out))
        split = {"split": first.split, "degradation": first.degradation}
        yield self.job("pairs", self.pairs.path, lambda out: make_pairs(raw, out, **split))
        for name in self.names:
            params, store, folder = self.params[name], self.patches(name), self.work / name
            yield self.job(
                store.path.name, store.path, lambda out, p=params: extract_patches(self.pairs, out, patches=p.patches)
            )
            if name == CONTROL:
                yield self.training_job(name, "control")
                continue
            gae = GaeCheckpoint(folder / "gae")
            yield self.training_job(name, "gae")
            yield self.job(
                f"{name}/latents",
                folder / "latents",
                lambda out, s=store, g=gae, p=params: encode_latents(s, g, out, hardware=p.hardware),
            )
            yield self.training_job(name, "diffusion")
            yield self.training_job(name, "regression")

    def job(self, what: str, target: Path, fill: Callable[[Path], object]) -> Callable[[], None]:
        def run() -> None:
            if target.exists():
                return
            if time.time() > self.deadline:
                raise OutOfTimeError
            started = time.time()
            print(f"{time.time() - self.begun:6.0f} s  {what}", flush=True)
            with publish(target) as out:
                fill(out)
            self.record.piece["did"].append({"what": what, "seconds": round(time.time() - started, 1)})
            self.record.write()

        return run

    def training_job(self, name: str, kind: str) -> Callable[[], None]:
        def fill(out: Path) -> None:
            entry = self.record.training(name, kind)
            if "planned" not in entry:
                entry["planned"] = self.planned(name, kind)
            training = self.training(name, kind)

            def told() -> None:
                entry["curve"] = training.curve
                # The validation before the first step has no resume point.
                self.record.piece["saves"] += int(entry["curve"][-1]["step"] > 0)
                self.record.write()

            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            entry["result"] = training.run(
                self.trainer(name, kind), out, self.optimizer(name, kind), deadline=self.deadline, told=told
            )
            if torch.cuda.is_available():
                entry["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)

        return self.job(f"{name}/{kind}", self.work / name / kind, fill)

    def planned(self, name: str, kind: str) -> dict[str, float]:
        return plan(
            self.trainer(name, kind),
            getattr(self.params[name], GROUPS[kind]).optimizer,
            seconds=SHARES[kind] * self.seconds,
            deadline=self.deadline,
            patience=min(3.0, 0.1 * self.seconds),
        )

    # What lies where, and how it is trained.

    @property
    def pairs(self) -> DegradedPairs:
        return DegradedPairs(self.work / "pairs")

    def patches(self, name: str) -> PatchStore:
        sizes = self.params[name].patches
        return PatchStore(self.work / f"patches_{sizes.size}_{sizes.stride}")

    def training(self, name: str, kind: str) -> Training:
        return Training(self.work / "resume" / name / kind, self.record.training(name, kind)["planned"])

    def optimizer(self, name: str, kind: str) -> Any:
        planned = self.record.training(name, kind)["planned"]
        given = getattr(self.params[name], GROUPS[kind]).optimizer
        update = {key: planned[key] for key in ("steps", "validate_every", "save_every")}
        # A training that stopped early would not have had the time of the others.
        update |= {"warmup": min(given.warmup, planned["steps"] // 10), "patience": 0}
        return given.model_copy(update=update)

    def trainer(self, name: str, kind: str) -> Train:
        """The stage function with everything but what a training changes."""
        params, store, folder = self.params[name], self.patches(name), self.work / name
        gae, latents = GaeCheckpoint(folder / "gae"), LatentStore(folder / "latents")

        def train(out: Path, optimizer: Any, work: Path, log: Any) -> dict[str, float]:
            group: Group = getattr(params, GROUPS[kind]).model_copy(update={"optimizer": optimizer})
            rest: dict[str, Any] = {GROUPS[kind]: group, "hardware": params.hardware, "work": work, "log": log}
            if kind == "gae":
                return train_gae(store, out, **rest)
            if kind == "control":
                return train_pca_residual(store, out, **rest)
            return train_diffusion(store, gae, latents, out, regression=kind == "regression", **rest)

        return train

    # The tests.

    def test(self, name: str) -> None:
        """Score what there is of a model on the whole test scenes, unless that was done when it was finished."""
        entry, params = self.record.model(name), self.params[name]
        found = {kind: self.steps_of(name, kind) for kind in ("regression", "diffusion", "control")}
        steps = {kind: count for kind, count in found.items() if count}
        if not steps or entry.get("tested_steps") == steps:
            return
        print(f"{time.time() - self.begun:6.0f} s  test of {name}", flush=True)
        started, index = time.time(), self.pairs.index()
        protocol = make_protocol(
            params.protocol,
            dataset=params.dataset,
            split=params.split,
            degradation=params.degradation,
            plan=index["splits"],
            srf=index["srf"],
        )
        rows: list[AnyRow] = [baseline_row(params.degradation.scale)]
        with ExitStack() as stack:
            rows += [self.row(name, kind, count, stack) for kind, count in steps.items()]
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.work)))
            tree = evaluate(self.pairs, rows, out, protocol=protocol)
        entry["tests"] = {
            row.name: {key: values[key] for key in METRICS if (values := tree["models"][row.name]).get(key) is not None}
            for row in rows
        }
        for row, (kind, count) in zip(rows[1:], steps.items(), strict=True):
            entry["tests"][row.name] |= self.cost(name, kind, count)
        entry["tested_steps"] = steps
        self.record.tree["test_set"] = tree["test_set"]
        self.record.piece["tests"][name] = entry["tests"]
        self.record.piece["did"].append({"what": f"test of {name}", "seconds": round(time.time() - started, 1)})
        self.record.write()

    def steps_of(self, name: str, kind: str) -> int:
        """Steps of a training whose weights can be tested; 0 where there are none."""
        entry = self.record.model(name)["trainings"].get(kind)
        if not entry or "planned" not in entry:
            return 0
        if (self.work / name / kind).exists():
            return int(entry["planned"]["steps"])
        return self.training(name, kind).saved_step

    def cost(self, name: str, kind: str, steps: int) -> dict[str, float]:
        """What the training has cost when it had done so many steps."""
        entry = self.record.training(name, kind)
        rows = [row for row in entry["curve"] if row["step"] <= steps]
        steps_s = sum((b["step"] - a["step"]) * b["seconds_per_step"] for a, b in pairwise(rows))
        return {
            "steps": steps,
            "of_steps": entry["planned"]["steps"],
            "optimiser_seconds": round(steps_s, 2),
            "wall_seconds": rows[-1]["seconds"],
        }

    def row(self, name: str, kind: str, steps: int, stack: ExitStack) -> AnyRow:
        folder, params = self.work / name / kind, self.params[name]
        if not folder.exists():
            optimizer = self.optimizer(name, kind).model_copy(update={"steps": steps})
            folder = stack.enter_context(self.training(name, kind).so_far(self.trainer(name, kind), optimizer))
        device, how = device_for(params.hardware.accelerator), params.sampling
        tiles = {"tile": how.tile, "overlap": how.overlap}
        if kind == "control":
            model = PcaResidual.from_checkpoint(ControlCheckpoint(folder), consistency=how.consistency, device=device)
            return model_row(model, "control", **tiles)
        net = DiffusionCheckpoint(folder) if kind == "diffusion" else RegressionCheckpoint(folder)
        whole = Dmgasr.from_checkpoints(GaeCheckpoint(self.work / name / "gae"), net, sampling=how, device=device)
        return model_row(whole, "model" if kind == "diffusion" else "control", **tiles)

    def show(self) -> None:
        print(f"{'':28}   MPSNR   SAM deg   s/image   optimiser s   wall s   steps")
        for name in self.names:
            for row, t in self.record.model(name)["tests"].items():
                cost = f"{t['optimiser_seconds']:13.1f} {t['wall_seconds']:8.1f}   {t['steps']}" if "steps" in t else ""
                numbers = f"{t['mpsnr_db']:8.2f} {t['sam_deg']:9.2f} {t['seconds_per_image']:9.3f}"
                print(f"{name:14} {row:13} {numbers} {cost}")


def run_piece(options: argparse.Namespace) -> int:
    return Piece(options).run()
