"""Train variants of methods for the same CPU time, and score them on whole scenes that are not for testing.

    python benchmarks/screening.py -S dataset.name=cave -S dataset.root=FOLDER \\
      --exclude egyptian_statue hairs --score clay flowers --variant group-residual n_subs=8 n_ovls=2 --variant edsr

A variant is a method and changes of its settings. The scenes of `--exclude` are those of the final test: they are
neither trained on nor scored. The time is CPU time of one thread, as in equal_time.py.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
from pathlib import Path

import numpy as np
from equal_time import Row
from record import ROOT, arguments, environment, read_record, without_root, write_record
from stability import tree_of


def scene_folder(source, excluded, folder):
    """A folder of links to the scenes that may be seen."""
    folder.mkdir(parents=True)
    for scene in sorted(source.iterdir()):
        if not any(scene.name.startswith(name) for name in excluded):
            (folder / scene.name).symlink_to(scene)
    return folder


def score(method, root, scenes):
    """MPSNR, SAM and ERGAS, means over scenes."""
    from hsipipe.artifacts import DegradedPairs
    from hsipipe.evaluation.metrics import band_mse, ergas, mpsnr_db, sam_deg
    from hsipipe.inference.scene import predict_scene

    pairs, found = DegradedPairs.in_project(root), []
    for name in scenes:
        pair = pairs.read("test", name)
        msi = pair.msi if method.msi_bands != 0 else None
        sr = predict_scene(method, pair.lr, msi=msi, tile=128, overlap=8).clip(0, 1)
        mse = band_mse(sr, pair.hr)
        found.append((mpsnr_db(mse), sam_deg(sr, pair.hr), ergas(mse, pair.hr, ratio=method.scale)))
    names = ("mpsnr_db", "sam_deg", "ergas")
    return {key: round(float(value), 3) for key, value in zip(names, np.mean(found, 0), strict=True)}


def main():
    parser = arguments(__doc__, result="screening")
    parser.add_argument("--set", "-S", action="append", default=[], metavar="KEY=VALUE", help="change params.yaml")
    parser.add_argument("--exclude", nargs="*", default=[], help="scenes of the final test")
    parser.add_argument("--score", nargs="+", required=True, help="scenes that are scored, and not trained on")
    parser.add_argument("--variant", nargs="+", action="append", required=True, help="METHOD [SETTING=VALUE ...]")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    from prepared import changed, prepare

    from hsipipe.params import load_params

    where = environment("torch")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params = changed(load_params(ROOT / "params.yaml"), tree_of(options.set))
        scenes = scene_folder(Path(params.dataset.root).absolute(), options.exclude, folder / "scenes")
        params = changed(
            params, {"dataset": {"root": str(scenes)}, "split": {"test_scenes": options.score}, "seeds": []}
        )
        root = folder / "root"
        prepare(params, root)
        for number, (method, *settings) in enumerate(options.variant):
            own = changed(params, tree_of([f"methods.{method}.{setting}" for setting in settings]))
            row = Row({"seconds": options.seconds}, own, root, method, seed=options.seed, device="cpu")
            row.folder = folder / str(number)
            made, training = row.made()
            sampling = own.sampling.of(method)
            found = {**score(made.prepared(sampling), root, options.score), "steps": training["methods"]["steps"]}
            variant = " ".join([method, *settings])
            print(variant, found, flush=True)
            record = read_record(options.json)
            kept = {"score": options.score, "exclude": sorted(options.exclude), "seconds": options.seconds}
            kept["settings"] = without_root(options.set)
            rows = record.get("rows", {}) if {key: record.get(key) for key in kept} == kept else {}
            rows = {**rows, f"{variant}, seed {options.seed}": {**found, "parameters": training.get("parameters")}}
            write_record(options.json, {"environment": where, **kept, "rows": rows})


if __name__ == "__main__":
    main()
