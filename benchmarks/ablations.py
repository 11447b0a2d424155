"""Train the ablations of DMGASR with one budget: Tables 3 to 5 and the images of errors of arXiv 2402.17285.

    python benchmarks/ablations.py cave -S dataset.name=cave -S dataset.root=FOLDER

The argument LABEL names the data set in the record; a run replaces its part. With the same `--folder`, a stopped run
resumes. The tables are:

3   the group autoencoder without its global decoder, without groups; diffusion of pixels, 3 bands or all at a time
4   bands of a group and their overlap; groups with more bands than the data are skipped
5   seconds for squares of 64, 128 and 256 pixels, with one network evaluation and with the 20 of the paper
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from record import ROOT, arguments, environment, read_record, write_record
from stability import tree_of

STANDARD = "dmgasr-latent"
BASELINES = ("bicubic", "dmgasr-regression")
TABLES = {
    "table 3": ("dmgasr-without-gd", "dmgasr-without-gs", "dmgasr-pixels-3", "dmgasr-pixels-all"),
    "table 4": ("dmgasr-12-4", "dmgasr-16-4", "dmgasr-24-6", "dmgasr-32-8"),
}
TIMED = (STANDARD, "dmgasr-pixels-3", "dmgasr-pixels-all")
EDGES = (64, 128, 256)
PAPER = {"sampler": "ancestral", "steps": 20}
SHOWN = ("mpsnr_db", "mssim", "sam_deg", "ergas")
ROUNDS = 3


def fits(params, name, bands):
    """False if a group would have more bands than the data."""
    from hsipipe.methods.catalogue import entry, gae_settings

    autoencoder = entry(name).autoencoder
    size = "all" if autoencoder is None else gae_settings(params, autoencoder).n_subs
    return size == "all" or size <= bands


def row_of(params, pairs, root, folder, name):
    """The method, and its means over the test scenes, its ceiling, and the seconds of its training with all before."""
    from prepared import trained

    from hsipipe.evaluation.score_method import score_method
    from hsipipe.protocols import protocol_of

    # A folder each: two entries may have autoencoders of their own.
    begun = time.perf_counter()
    method = trained(name, params, root, folder / name).prepared(params.sampling)
    took = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as out:
        tree = score_method(
            method,
            pairs,
            Path(out),
            row=name,
            sha256="",
            protocol=protocol_of(params, pairs.index()),
            sampling=params.sampling,
        )
    rows = {}
    for scene in tree["scenes"].values():
        for row, values in scene.items():
            rows.setdefault(row, []).append([values[key] for key in SHOWN])
    means = dict(zip(SHOWN, np.mean(rows[name], axis=0).tolist(), strict=True))
    # Without an autoencoder, or with one that keeps the pixels, nothing is lost.
    ceilings = [values[0] for values in rows.get("ae-ceiling", []) if values[0] is not None]
    ceiling = float(np.mean(ceilings)) if ceilings else None
    return method, {**means, "ae_ceiling_db": ceiling, "train_seconds": took}


def rows_kept(path, settings):
    """The rows of an earlier run of the same settings; empty if there was none."""
    if not path.is_file():
        return {}
    kept = json.loads(path.read_text())
    if kept["settings"] != settings:
        raise SystemExit(
            f"error: {path.parent} has rows of {kept['settings']}, expected {settings}; take another folder"
        )
    return dict(kept["rows"])


def errors(pairs, method, params):
    """Mean absolute error (H, W) of the first test scene."""
    from hsipipe.inference.scene import predict_scene

    pair = pairs.read("test", pairs.names("test")[0])
    sr = predict_scene(method, pair.lr, tile=params.sampling.tile, overlap=params.sampling.overlap)
    return np.abs(sr.clip(0, 1) - pair.hr).mean(axis=0)


def seconds(method, params, bands, scale):
    """Seconds of squares by edge, with the evaluations of the method and of the paper; the least of three."""
    rng, found = np.random.default_rng(0), {}
    for label, changes in (("as set", {}), ("20 evaluations", PAPER)):
        ready = method.prepared(params.sampling.model_copy(update=changes))
        for edge in EDGES:
            lr = rng.random((1, bands, edge // scale, edge // scale), dtype=np.float32)
            times = []
            for _ in range(ROUNDS if edge < EDGES[-1] else 1):
                begun = time.perf_counter()
                ready.predict(lr)
                times.append(time.perf_counter() - begun)
            found[f"{label}, {edge}"] = round(min(times), 3)
    return found


def picture(images, path):
    """Write the images of errors side by side, on one scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 * len(images), 2.7), layout="constrained")
    axes = figure.subplots(1, len(images), squeeze=False)[0]
    top = float(np.quantile(np.stack(list(images.values())), 0.99))
    for axis, (name, image) in zip(axes, images.items(), strict=True):
        shown = axis.imshow(image, vmin=0, vmax=top, cmap="magma", interpolation="nearest")
        axis.set_title(name.removeprefix("dmgasr-"), fontsize=9)
        axis.set_axis_off()
    figure.colorbar(shown, ax=axes, shrink=0.7, label="mean absolute error")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def markdown(rows):
    """The rows as a table for docs/results.md."""

    def text(value, digits):
        return "n/a" if value is None else f"{value:.{digits}f}"

    lines = ["| | MPSNR dB | MSSIM | SAM deg | ERGAS | its ceiling dB | training s |", "|---|---|---|---|---|---|---|"]
    for name, found in rows.items():
        cells = [text(found[key], digits) for key, digits in zip(SHOWN, (2, 4, 2, 2), strict=True)]
        cells += [text(found["ae_ceiling_db"], 2), text(found["train_seconds"], 0)]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def main():
    parser = arguments(__doc__, result="ablations")
    parser.add_argument("label", help="name of the data set in the record")
    parser.add_argument("--set", "-S", action="append", default=[], metavar="KEY=VALUE", help="change params.yaml")
    parser.add_argument("--folder", type=Path, help="keep data and models here, and continue them")
    parser.add_argument("--picture", type=Path, help="write images of errors of the first test scene here")
    parser.add_argument("--timed", action="store_true", help="measure Table 5, too; on an idle machine")
    options = parser.parse_args()

    from prepared import changed, prepare

    from hsipipe.artifacts import DegradedPairs
    from hsipipe.params import load_params

    where, params = environment("torch"), changed(load_params(ROOT / "params.yaml"), tree_of(options.set))
    folder = options.folder or Path(tempfile.mkdtemp())
    prepare(params, folder)
    pairs = DegradedPairs.in_project(folder)
    bands = pairs.read("test", pairs.names("test")[0]).hr.shape[0]
    names = [*BASELINES, STANDARD, *TABLES["table 3"], *TABLES["table 4"]]
    kept = folder / "rows.json"
    rows, images, timed = rows_kept(kept, options.set), {}, {}
    for name in names:
        if not fits(params, name, bands):
            print(f"{name}: skipped, the data has {bands} bands", flush=True)
            continue
        method, found = row_of(params, pairs, folder, folder / "entries", name)
        # A training that was complete before took no time now.
        rows.setdefault(name, found)
        kept.write_text(json.dumps({"settings": options.set, "rows": rows}))
        print(name, rows[name], flush=True)
        if name in (*BASELINES[:1], STANDARD, *TABLES["table 3"]):
            images[name] = errors(pairs, method, params)
        if options.timed and name in TIMED:
            timed[name] = seconds(method, params, bands, params.degradation.scale)
            print(name, timed[name], flush=True)
    if options.picture is not None:
        picture(images, options.picture)
    print(markdown(rows))
    record = read_record(options.json)
    part = {"environment": where, "settings": options.set, "bands": bands, "rows": rows}
    timed = timed or record.get(options.label, {}).get("seconds")
    record[options.label] = {**part, **({"seconds": timed} if timed else {})}
    write_record(options.json, record)


if __name__ == "__main__":
    main()
