"""Apply models that were trained on one data set to the cubes of the others; count what the guard says of them.

    python benchmarks/guard.py --data FOLDER
    python benchmarks/guard.py --data FOLDER --most 16 8 4 --methods pca-residual --part "few bands"

FOLDER holds one folder of cubes for each data set. Bands are chosen evenly, so that all have as many. Whole cubes are
predicted; those of a model's own data set hold its training ground, which the guard does not know. A prediction is bad
if its MPSNR is more than 1 dB below that of bicubic interpolation. Precision and recall are those of a warning, of the
guard alone and together with the comparison of the input with the training.
With --bands, data sets of fewer bands are skipped. With --most, the detail is judged by all bands, and by at most so
many; the shares of blocks and of predictions whose verdict differs are recorded.
"""

import tempfile
from pathlib import Path

import numpy as np
from record import ROOT, arguments, environment, read_record, row, show, write_record

EDGE, BAD_DB = 256, -1.0
METHODS = ("pca-residual", "edsr", "dmgasr-regression")


def write_cubes(data, root, bands):
    """Write the cubes of each data set with so many bands, in 0..1, into a folder of its own."""
    from hsipipe import open_cube, save_cube

    for place in sorted(path for path in data.iterdir() if path.is_dir()):
        out = root / place.name / "cubes"
        out.mkdir(parents=True)
        for path in sorted(place.iterdir()):
            cube = open_cube(path).compute()
            if cube.sizes["band"] < bands:
                continue
            chosen = np.linspace(0, cube.sizes["band"] - 1, bands).round().astype(int)
            part = cube.isel(band=chosen, y=slice(0, EDGE), x=slice(0, EDGE))
            top = float(np.quantile(part.to_numpy(), 0.999))
            save_cube((part / top).clip(0, 1).astype("float32"), out / f"{path.name.split('.')[0]}.nc")


def judged(model, hr, most):
    """Gain over interpolation in dB, the judgements by each number of bands, and the warnings of the input."""
    from hsipipe.degradation.bicubic import downsample, upsample
    from hsipipe.inference import guard
    from hsipipe.inference.known import domain_of, input_warnings
    from hsipipe.inference.scene import predict_scene

    lr = downsample(hr, model.scale)
    sr = predict_scene(model, lr, tile=64, overlap=8)
    errors = [np.square(image.clip(0, 1) - hr).mean(axis=(1, 2)) for image in (upsample(lr, model.scale), sr)]
    gain = float(10 * np.log10(np.maximum(errors[0], 1e-12) / np.maximum(errors[1], 1e-12)).mean())
    judgements = []
    for number in most:
        guard._MOST_BANDS = number
        judgements.append(guard.judge(model, lr, sr, tile=64, overlap=8))
    return gain, judgements, input_warnings(domain_of(model), lr)


def rates(found, kind):
    """Precision and recall of the warnings of a kind."""
    warned, bad = (np.array([one[key] for one in found]) for key in (kind, "bad"))
    both = int((warned & bad).sum())
    rows = [row(f"{kind}: warned of", int(warned.sum()), f"of {len(found)}")]
    rows.append(row(f"{kind}: precision", both / max(1, warned.sum()), ""))
    return [*rows, row(f"{kind}: recall", both / max(1, bad.sum()), "")]


def differences(found, most):
    """Shares of blocks and predictions that are judged otherwise by fewer bands than by all."""
    rows = []
    for number, limit in enumerate(most[1:], start=1):
        pairs = [(one["judgements"][0], one["judgements"][number]) for one in found]
        blocks = np.concatenate([(every.doubtful != few.doubtful).ravel() for every, few in pairs])
        doubtful = np.concatenate([every.doubtful.ravel() for every, _ in pairs])
        changed = [bool(every.doubtful.any()) != bool(few.doubtful.any()) for every, few in pairs]
        warned = [bool(every.warnings()) != bool(few.warnings()) for every, few in pairs]
        rows += [
            row(f"at most {limit} bands: blocks judged otherwise", 100 * blocks.mean(), f"% of {len(blocks)}"),
            row(f"at most {limit} bands: doubtful by all bands", 100 * doubtful.mean(), f"% of {len(blocks)}"),
            row(f"at most {limit} bands: other verdict on the detail", sum(changed), f"of {len(pairs)}"),
            row(f"at most {limit} bands: other verdict of the guard", sum(warned), f"of {len(pairs)}"),
        ]
        few = [{"guard": bool(one["judgements"][number].warnings()), "bad": one["bad"]} for one in found]
        rows += [{**each, "name": f"at most {limit} bands: {each['name']}"} for each in rates(few, "guard")]
    return rows


def main():
    parser = arguments(__doc__, result="guard")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--bands", type=int, default=31, help="bands of all cubes")
    parser.add_argument("--most", type=int, nargs="+", default=[], help="judge by at most so many bands, too")
    parser.add_argument("--part", help="name of this measurement in the record; those of other parts are kept")
    parser.add_argument("--folder", type=Path, help="keep data and models here, and continue them")
    options = parser.parse_args()

    from prepared import changed, prepare, trained

    from hsipipe import open_cube
    from hsipipe.params import load_params

    where = environment("torch")
    folder = options.folder or Path(tempfile.mkdtemp())
    if not any(folder.glob("*/cubes")):
        write_cubes(options.data, folder, options.bands)
    places = sorted(path.parent for path in folder.glob("*/cubes") if any(path.iterdir()))
    most = [options.bands, *options.most]
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
                    gain, judgements, inputs = judged(model, open_cube(path).to_numpy(), most)
                    judgement = judgements[0]
                    guard = bool(judgement.warnings())
                    warned = {"guard": guard, "guard or input": guard or bool(inputs)}
                    found.append({**warned, "bad": gain < BAD_DB, "judgements": judgements})
                    coarser = "" if judgement.gain_db is None else f"{judgement.gain_db:+.2f}"
                    share, largest = judgement.doubtful.mean(), judgement.detail.max()
                    print(
                        f"{method:18} {place.name:14} {other.name:14} {path.stem:22} gain {gain:+.2f} "
                        f"coarser {coarser} doubtful {share:.1%} detail {largest:.3g} grid {judgement.grid.max():.2f} "
                        f"input {len(inputs)}",
                        flush=True,
                    )
    rows = [row("predictions", len(found), ""), row("worse than bicubic by 1 dB", sum(f["bad"] for f in found), "")]
    rows += [*rates(found, "guard"), *rates(found, "guard or input")]
    rows += differences(found, most)
    show(rows)
    record = {"environment": where, "methods": list(options.methods), "rows": rows}
    write_record(options.json, {**read_record(options.json), options.part: record} if options.part else record)


if __name__ == "__main__":
    main()
