"""Apply models that were trained on one data set to the cubes of the others; count what the guard says of them.

    python benchmarks/guard.py --data FOLDER

FOLDER holds one folder of cubes for each data set. Bands are chosen evenly, so that all have as many. Whole cubes are
predicted; those of a model's own data set hold its training ground, which the guard does not know. A prediction is bad
if its MPSNR is more than 1 dB below that of bicubic interpolation. Precision and recall are those of a warning, of the
guard alone and together with the comparison of the input with the training.
"""

import tempfile
from pathlib import Path

import numpy as np
from record import ROOT, arguments, environment, row, show, write_record

BANDS, EDGE, BAD_DB = 31, 256, -1.0
METHODS = ("pca-residual", "edsr", "dmgasr-regression")


def write_cubes(data, root):
    """Write the cubes of each data set with `BANDS` bands, in 0..1, into a folder of its own."""
    from hsipipe import open_cube, save_cube

    for place in sorted(path for path in data.iterdir() if path.is_dir()):
        out = root / place.name / "cubes"
        out.mkdir(parents=True)
        for path in sorted(place.iterdir()):
            cube = open_cube(path).compute()
            chosen = np.linspace(0, cube.sizes["band"] - 1, BANDS).round().astype(int)
            part = cube.isel(band=chosen, y=slice(0, EDGE), x=slice(0, EDGE))
            top = float(np.quantile(part.to_numpy(), 0.999))
            save_cube((part / top).clip(0, 1).astype("float32"), out / f"{path.name.split('.')[0]}.nc")


def judged(model, hr):
    """Gain over interpolation in dB, and the warnings of guard and input, for a cube."""
    from hsipipe.degradation.bicubic import downsample, upsample
    from hsipipe.inference.guard import judge
    from hsipipe.inference.known import domain_of, input_warnings
    from hsipipe.inference.scene import predict_scene

    lr = downsample(hr, model.scale)
    sr = predict_scene(model, lr, tile=64, overlap=8)
    errors = [np.square(image.clip(0, 1) - hr).mean(axis=(1, 2)) for image in (upsample(lr, model.scale), sr)]
    gain = float(10 * np.log10(np.maximum(errors[0], 1e-12) / np.maximum(errors[1], 1e-12)).mean())
    return gain, judge(model, lr, sr, tile=64, overlap=8), input_warnings(domain_of(model), lr)


def rates(found, kind):
    """Precision and recall of the warnings of a kind."""
    warned, bad = (np.array([one[key] for one in found]) for key in (kind, "bad"))
    both = int((warned & bad).sum())
    rows = [row(f"{kind}: warned of", int(warned.sum()), f"of {len(found)}")]
    rows.append(row(f"{kind}: precision", both / max(1, warned.sum()), ""))
    return [*rows, row(f"{kind}: recall", both / max(1, bad.sum()), "")]


def main():
    parser = arguments(__doc__, result="guard")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--folder", type=Path, help="keep data and models here, and continue them")
    options = parser.parse_args()

    from prepared import changed, prepare, trained

    from hsipipe import open_cube
    from hsipipe.params import load_params

    where = environment("torch")
    folder = options.folder or Path(tempfile.mkdtemp())
    if not any(folder.glob("*/cubes")):
        write_cubes(options.data, folder)
    places = sorted(path.parent for path in folder.glob("*/cubes"))
    params = {}
    for place in places:
        changes = {
            "dataset": {"name": "folder", "root": str(place / "cubes")},
            "degradation": {"srf": None},
            "split": {"guard": 8},
            "patches": {"size": 20, "stride": 8},
        }
        params[place] = changed(load_params(ROOT / "params.yaml"), changes)
        prepare(params[place], place)
    found = []
    for method in options.methods:
        for place in places:
            model = trained(method, params[place], place, place / "models" / method)
            for other in places:
                for path in sorted((other / "cubes").iterdir()):
                    gain, judgement, inputs = judged(model, open_cube(path).to_numpy())
                    guard = bool(judgement.warnings())
                    found.append({"guard": guard, "guard or input": guard or bool(inputs), "bad": gain < BAD_DB})
                    coarser = "" if judgement.gain_db is None else f"{judgement.gain_db:+.2f}"
                    share, most = judgement.doubtful.mean(), judgement.detail.max()
                    print(
                        f"{method:18} {place.name:14} {other.name:14} {path.stem:22} gain {gain:+.2f} "
                        f"coarser {coarser} doubtful {share:.1%} detail {most:.3g} grid {judgement.grid.max():.2f} "
                        f"input {len(inputs)}",
                        flush=True,
                    )
    rows = [row("predictions", len(found), ""), row("worse than bicubic by 1 dB", sum(f["bad"] for f in found), "")]
    rows += [*rates(found, "guard"), *rates(found, "guard or input")]
    show(rows)
    write_record(options.json, {"environment": where, "methods": list(options.methods), "rows": rows})


if __name__ == "__main__":
    main()
