"""Compare a start from a trained network with a cold start of `hsipipe sharpen`: docs/sharpen.md.

    python benchmarks/sharpen_start.py /data/remote_sensing --start models/cave-x2 models/cave-x4 --minutes 1 3
    python benchmarks/sharpen_start.py /data/remote_sensing --start models/cave-x4 --lr 0.002 0.0005 --scenes Salinas-A

Each scene is degraded and restored as in a sharpening, with the scene as truth. "held out" is the gain over bicubic
interpolation in the region for judging, "choosing" that in the region for choosing, where the step is chosen. The
minutes are CPU time of one thread. What the record has is not measured again. `--lr` tries other learning rates of
the start, on scenes that are in no table.
"""

import cpu_clock  # noqa: F401  # isort: skip

from itertools import product
from pathlib import Path

from record import arguments, environment, read_record, row, show, write_record  # isort: skip

import numpy as np
import torch
from sharpen import MTF, SCENES, read, rounded

from hsipipe.commands.start_model import read_start
from hsipipe.degradation.psf import Psf
from hsipipe.methods.base import TrainingData
from hsipipe.sharpen import candidates
from hsipipe.sharpen.compare import Clock, compare
from hsipipe.sharpen.patches import cut_patches
from hsipipe.sharpen.reduced import reduce_scene
from hsipipe.sharpen.regions import plan_regions
from hsipipe.sharpen.scores import score_box

TARGETS = ("Jasper Ridge", "MUUFL", "Pavia bridge")
NETWORK = candidates.NETWORKS[False]


def main():
    parser = arguments(__doc__, result="sharpen_start")
    parser.add_argument("folder", type=Path, help="folder of the scenes")
    parser.add_argument("--start", type=Path, nargs="+", required=True, help="trained networks, each of its scale")
    parser.add_argument(
        "--minutes", type=float, nargs="*", default=[1.0, 3.0], metavar="N", help="CPU time of a comparison"
    )
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(TARGETS))
    parser.add_argument("--unchanged", action="store_true", help="score the networks without further training, too")
    parser.add_argument("--lr", type=float, nargs="+", help="learning rates of the start, in the place of a cold start")
    options = parser.parse_args()
    torch.set_num_threads(1)
    where = environment("torch", "numpy")
    starts = [read_start(str(path)) for path in options.start]
    ways = ["cold", "started"] if options.lr is None else [f"started, lr {lr:g}" for lr in options.lr]
    for start, name in product(starts, options.scenes) if options.unchanged else ():
        record = read_record(options.json)
        found = {
            **record.get("unchanged", {}),
            f"{name} x{start.model.scale}": unchanged(options.folder, name, start.model),
        }
        write_record(options.json, {**record, "unchanged": found})
    for minutes, start, name, way in product(options.minutes, starts, options.scenes, ways):
        key = f"{name} x{start.model.scale}, {minutes:g} min, {way}"
        record = read_record(options.json)
        if key in record.get("runs", {}):
            continue
        found = run(options.folder, name, start.model, minutes, way)
        print(key, found, flush=True)
        runs = {**record.get("runs", {}), key: found}
        about = {f"x{start.model.scale}": {"sha256": start.sha256, "psf": start.model.psf.describe(start.model.scale)}}
        about = {"environment": where, "mtf": MTF, "starts": {**record.get("starts", {}), **about}}
        write_record(options.json, {**record, **about, "rows": summary(runs), "runs": runs})
    show(read_record(options.json).get("rows", []))


def problem(folder, name, scale):
    """A scene with its degradation, and its regions."""
    cube = read(folder / SCENES[name][0], SCENES[name][1], scale)
    values = np.ascontiguousarray(cube.to_numpy(), dtype=np.float32)
    everywhere = np.ones(values.shape[1:], bool)
    reduced = reduce_scene(values, everywhere, scale=scale, psf=Psf("gaussian", mtf=MTF))
    return reduced, plan_regions(reduced.interpolation_error(), everywhere, scale=scale)


def unchanged(folder, name, model):
    """Held-out gains of a network without further training, by what its detail is scaled with."""
    reduced, regions = problem(folder, name, model.scale)
    patches = cut_patches(reduced, regions.fit)
    data, settings = TrainingData(patches, patches), candidates.network_settings(NETWORK)
    carried, cold = model.carried_to(data, settings).eval(), type(model).untrained(settings, data)
    bicubic = candidates.untrained("bicubic", scale=model.scale, psf=reduced.psf)

    def psnr_db(method):
        return score_box(reduced.predict(method), reduced, regions.judge).mpsnr_db

    sizes = {
        "gain fitted": carried.residual_rms.clone(),
        "as in its training": carried.std * model.residual_rms / model.std,
        "measured on the scene": cold.residual_rms,
    }
    found = {"gain": rounded(sizes["gain fitted"] / sizes["as in its training"])}
    for way, size in sizes.items():
        carried.residual_rms.copy_(size)
        found[way] = rounded(psnr_db(carried) - psnr_db(bicubic))
    return found


def run(folder, name, model, minutes, way):
    """Gains of the candidates over interpolation in both regions."""
    clock = Clock(60 * minutes)
    if "lr" in way:
        candidates._tree()["start"]["lr"] = float(way.split()[-1])
    reduced, regions = problem(folder, name, model.scale)
    start = None if way == "cold" else model
    found = compare(reduced, regions, clock=clock, wavelength_nm=None, tell=lambda line: None, start=start)
    bicubic, *others = found.candidates
    about = {"scene": name, "scale": model.scale, "minutes": minutes, "way": way, "method": found.chosen.name}
    gains = {
        entry.name: {
            "choosing_gain_db": rounded(entry.choose.mpsnr_db - bicubic.choose.mpsnr_db),
            "held_out_gain_db": rounded(entry.judge.mpsnr_db - bicubic.judge.mpsnr_db),
            "held_out_sam_deg": rounded(entry.judge.metrics["sam_deg"]),
            **({"training": entry.note} if entry.note else {}),
        }
        for entry in others
    }
    return {**about, "cpu_seconds": rounded(clock.passed()), "skipped": found.skipped, **gains}


def summary(runs):
    """Mean gains over the scenes that were sharpened in both ways, for each scale and time."""
    rows, by_case = [], {}
    for one in runs.values():
        by_case.setdefault((one["scale"], one["minutes"]), {}).setdefault(one["way"], {})[one["scene"]] = one
    for (scale, minutes), ways in sorted(by_case.items()):
        cold, started = ways.get("cold", {}), ways.get("started", {})
        if scenes := sorted(cold.keys() & started.keys()):
            case = f"x{scale}, {minutes:g} min, {len(scenes)} scenes"
            for way, found in (("cold", cold), ("started", started)):
                gain = np.mean([found[name][NETWORK]["held_out_gain_db"] for name in scenes])
                rows.append(row(f"{case}: {way}, held out", gain, "dB"))
    return rows


if __name__ == "__main__":
    main()
