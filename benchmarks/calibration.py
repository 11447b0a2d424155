"""Judge the samples of a posterior against its regression and its heteroscedastic regression, by eight goals.

    python benchmarks/calibration.py -S dataset.name=cave -S dataset.root=FOLDER --mean pca-residual

Everything is trained from each seed and scored on whole test scenes. The rows of the result:

regression            the prediction alone: its CRPS is its mean absolute error
heteroscedastic       the same prediction, normal values of its predicted scale, independent of each other
projected             those values made consistent with the LR-HSI, a stronger baseline
diffusion             the samples of the posterior
sharp                 its sharp mode, one image

The goals: G1 CRPS, G2 the mean of samples (of the first seed), G3 spread and coverage, G4 power spectrum of a sample,
G5 the sharp mode, G6 energy score, G7 functionals, G8 consistency.
"""

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from copy import copy
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from record import ROOT, Watch, arguments, environment, read_record, row, show, without_root, write_record
from stability import tree_of

ROWS = ("regression", "heteroscedastic", "projected", "diffusion", "sharp")
RESAMPLES = 10_000
RED_NM, INFRARED_NM = 670.0, 800.0
MANY = 32
KEEP = ROOT / "benchmarks" / "results" / "calibration"
DARK = 0.02
"""Least sum of both bands of the NDVI: below it, noise divides noise."""
HEADLINE = ("mpsnr_db", "crps")
REPEATED = ("crps", "energy_score", "psd_error", "spread_skill", "coverage_90", "block_max_crps", "bright_area_crps")


class Kept(dict):
    """Results of one seed with some settings, kept in a file.

    Args:
        path: The file; if it was made with other settings it is replaced.
        settings: Changes of params.yaml.
    """

    def __init__(self, path, settings):
        self.path, self.settings = path, settings
        record = read_record(path)
        super().__init__(record["found"] if record.get("settings") == settings else {})

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_record(self.path, {"settings": self.settings, "found": dict(self)})


def models(params, root, folder, mean, *, seed):
    """The trained rows of one seed, by name."""
    from prepared import changed, trained

    own = changed(params, {"methods": {name: {"seed": seed} for name in names(mean).values()}})
    made = {row: trained(name, own, root, folder).prepared(own.sampling) for row, name in names(mean).items()}
    flow = made["diffusion"]
    made["sharp"] = flow.prepared(own.sampling.model_copy(update={"mode": "sharp"}))
    made["projected"] = projected = flow._sharing()
    projected.spread = copy(flow.spread)
    projected.spread._modules = {**flow.spread._modules, "diffusion": None}
    projected.spread.scale = made["heteroscedastic"].spread.scale
    projected.interval = made["heteroscedastic"].interval
    return made


def names(mean):
    """Names in the catalogue: of a regression, of its heteroscedastic twin, and of its posterior."""
    stem = mean.removesuffix("-regression")
    diffusion = stem if mean.endswith("-regression") else f"{stem}-diffusion"
    return {"regression": mean, "heteroscedastic": f"{stem}-heteroscedastic", "diffusion": diffusion}


def scores(params, pairs, method, name, protocol):
    """Metrics of a row by scene."""
    from hsipipe.evaluation.score_method import score_method

    with tempfile.TemporaryDirectory() as out:
        tree = score_method(method, pairs, Path(out), row=name, sha256="", protocol=protocol, sampling=params.sampling)
    return {scene: rows[name] for scene, rows in tree["scenes"].items()}, tree.get("uncertainty", {})


def means_of_samples(params, pairs, method, counts):
    """MPSNR of means of samples above the prediction, seconds of a sample, CRPS of the NDVI; means over scenes."""
    from hsipipe.evaluation.ensemble import functional_crps
    from hsipipe.evaluation.metrics import band_mse, mpsnr_db
    from hsipipe.inference.scene import draw_scene, predict_scene

    place = {"tile": params.sampling.tile, "overlap": params.sampling.overlap}
    index = ndvi_of(pairs.index().get("wavelength_nm"))
    above, seconds, ndvi = {count: [] for count in (1, *counts)}, [], []
    for name in pairs.names("test"):
        pair = pairs.read("test", name)
        msi = pair.msi if method.FUSES else None
        predicted = predict_scene(method, pair.lr, msi=msi, **place).clip(0, 1)
        base = mpsnr_db(band_mse(predicted, pair.hr))
        begun = time.perf_counter()
        drawn = draw_scene(method, pair.lr, count=max(counts), msi=msi, **place)
        seconds.append((time.perf_counter() - begun) / max(counts))
        for count, values in above.items():
            image = np.mean(drawn[:count], axis=0).clip(0, 1)
            values.append(mpsnr_db(band_mse(image, pair.hr)) - base)
        if index is not None:
            point = functional_crps(index, [predicted], pair.hr)
            ndvi.append(functional_crps(index, drawn[: counts[0]], pair.hr) / point)
    kept = {count: float(np.mean(values)) for count, values in above.items()}
    return kept, float(np.mean(seconds)), float(np.mean(ndvi)) if ndvi else None


def ndvi_of(wavelength_nm):
    """NDVI of a cube (C, H, W) where it is bright enough for one, in [-1, 1]; None without its bands."""
    if not wavelength_nm or wavelength_nm[0] > RED_NM or wavelength_nm[-1] < INFRARED_NM:
        return None
    red, infrared = (int(np.abs(np.asarray(wavelength_nm) - nm).argmin()) for nm in (RED_NM, INFRARED_NM))

    def ndvi(cube):
        low, high = (cube[band].clip(0).astype(np.float64) for band in (red, infrared))
        return (high - low) / np.maximum(high + low, DARK)

    return ndvi


def costs(params, root, folder, mean):
    """Network evaluations, seconds and memory of an image by each mode: a prediction, or one sample."""
    rows = []
    for name in ("regression", "heteroscedastic", "diffusion", "sharp"):
        sampling = params.sampling.model_copy(update={"mode": "sharp" if name == "sharp" else "mean"})
        model = folder / names(mean)["diffusion" if name == "sharp" else name]
        # Measure in a new process: a process keeps the memory of its earlier predictions.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            evaluations, took, memory = pool.submit(cost, model, root, sampling, name).result()
        rows.append(row(f"{name}: network evaluations", evaluations, ""))
        rows += [row(f"{name}: seconds", took, "s/img"), row(f"{name}: memory", memory / 1e6, "MB")]
    return rows


def cost(model, root, sampling, name):
    """Network evaluations, seconds and bytes of the first test scene."""
    import psutil

    from hsipipe.artifacts import DegradedPairs
    from hsipipe.inference.scene import draw_scene, predict_scene
    from hsipipe.methods.catalogue import load_model

    method, pairs = load_model(model).prepared(sampling), DegradedPairs.in_project(root)
    pair, place = pairs.read("test", pairs.names("test")[0]), {"tile": sampling.tile, "overlap": sampling.overlap}
    msi, samples = pair.msi if method.FUSES else None, name in ("heteroscedastic", "diffusion")
    # What the first prediction of a process sets up is no cost of a mode.
    corner = None if msi is None else msi[:, : 8 * method.scale, : 8 * method.scale]
    predict_scene(method, pair.lr[:, :8, :8], msi=corner, **place)
    begun = time.perf_counter()
    with Watch(psutil.Process()) as watch:
        if samples:
            draw_scene(method, pair.lr, count=1, msi=msi, **place)
        else:
            predict_scene(method, pair.lr, msi=msi, **place)
    return method.nfe + (method.sample_nfe if samples else 0), time.perf_counter() - begun, watch.peak


def goals(found, means, uncertainty, ndvi=()):
    """The rows of the result: each goal with its value, its bound, and whether it is met.

    Args:
        found: Metrics by row and scene, of each seed.
        means: Gains of means of samples by their number, of each seed.
        uncertainty: Summaries of the diffusion, of each seed.
        ndvi: CRPS of the NDVI by the error of the plug-in, of each seed; empty without its bands.
    """

    def mean(name, key):
        return float(np.mean([scene[key] for seed in found for scene in seed[name].values()]))

    flow, base, point = (lambda key, n=n: mean(n, key) for n in ("diffusion", "heteroscedastic", "regression"))
    rows = []

    def goal(name, value, low, high, unit=""):
        bounds = f"<= {high:g}" if low is None else f">= {low:g}" if high is None else f"{low:g} to {high:g}"
        met = (low is None or value >= low) and (high is None or value <= high)
        rows.append(row(name, value, unit, target=bounds, met=met))

    goal("G1 CRPS / MAE of the regression", flow("crps") / point("crps"), None, 0.80)
    goal("G1 CRPS / CRPS of the heteroscedastic", flow("crps") / base("crps"), None, 0.98)
    for name, key in (("regression", "crps"), ("heteroscedastic", "crps")):
        rows.append(row(f"G1 95 % bound of the ratio to {name}", 1 + upper(found, name, key), ""))
    counts = sorted(means[0])
    for count in counts[1:]:
        lost = -float(np.mean([seed[count] for seed in means if count in seed]))
        goal(f"G2 mean of {count} below the regression", lost, None, 0.6 if count <= 8 else 0.2, "dB")
    if counts[-1] < MANY:
        lost = -float(np.mean([extrapolated(seed, MANY) for seed in means]))
        goal(f"G2 mean of {MANY} below the regression, extrapolated", lost, None, 0.2, "dB")
    gain = float(np.mean([seed[counts[1]] - seed[1] for seed in means]))
    goal(f"G2 mean of {counts[1]} above one sample", gain, 2.0, None, "dB")
    goal("G3 spread / skill", flow("spread_skill"), 0.9, 1.1)
    goal("G3 coverage of 90 % intervals", flow("coverage_90"), 88, 92, "%")
    texture = np.mean([seed["coverage_by_texture"] for seed in uncertainty], axis=0)
    goal("G3 lowest coverage of a decile of texture", float(texture.min()), 80, 97, "%")
    goal("G3 highest coverage of a decile of texture", float(texture.max()), 80, 97, "%")
    goal("G4 PSD error of a sample / of the regression", flow("psd_error") / point("psd_error"), None, 0.35)
    goal(
        "G5 PSD error of the sharp mode / of the regression", mean("sharp", "psd_error") / point("psd_error"), None, 0.5
    )
    goal("G5 loss of the sharp mode", point("mpsnr_db") - mean("sharp", "mpsnr_db"), None, 1.0, "dB")
    goal("G5 network evaluations of the sharp mode", mean("sharp", "nfe") - point("nfe"), None, 5)
    for name in ("heteroscedastic", "projected"):
        worst = upper(found, name, "energy_score")
        rows.append(
            row(f"G6 energy score / of {name}", flow("energy_score") / mean(name, "energy_score"), "", target="< 1")
        )
        goal(f"G6 95 % bound of the difference to {name}", worst, None, 0.0)
    for key, text in (("block_max_crps", "maxima"), ("bright_area_crps", "areas")):
        goal(f"G7 CRPS of {text} / error of the plug-in", flow(key) / point(key), None, 0.9)
        rows.append(row(f"G7 95 % bound of the ratio of {text}", 1 + upper(found, "regression", key), ""))
    if ndvi:
        goal("G7 CRPS of the NDVI / error of the plug-in", float(np.mean(ndvi)), None, 0.9)
    lost = point("consistency_psnr_db") - flow("sample_consistency_db")
    goal("G8 consistency of the worst sample below the regression's", lost, None, 1.0, "dB")
    for name in ("heteroscedastic", "projected"):
        rows += [row(f"{name}: {key}", mean(name, key), "") for key in REPEATED]
    return rows


def extrapolated(means, count):
    """Gain in dB of a mean of `count` samples, from those of one and of several.

    The squared error of a mean of K independent samples is a + b / K.
    """
    several = max(means)
    one, mean = (10 ** (-means[known] / 10) for known in (1, several))
    slope = (one - mean) / (1 - 1 / several)
    return -10 * np.log10(one - slope + slope / count)


def upper(found, name, key):
    """Upper end of the 95 % interval of the relative difference to a row, by a paired bootstrap over scenes."""
    scenes = list(found[0]["diffusion"])
    pairs = [[(seed["diffusion"][scene][key], seed[name][scene][key]) for seed in found] for scene in scenes]
    change = np.array([np.mean([a / b - 1 for a, b in scene]) for scene in pairs])
    drawn = np.random.default_rng(0).integers(0, len(change), (RESAMPLES, len(change)))
    return float(np.quantile(change[drawn].mean(axis=1), 0.975))


def main():
    parser = arguments(__doc__, result="calibration")
    parser.add_argument("--set", "-S", action="append", default=[], metavar="KEY=VALUE", help="change params.yaml")
    parser.add_argument("--mean", default="dmgasr-regression", help="the regression")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--many", type=int, default=MANY, help="samples of the second mean, of the first seed")
    parser.add_argument("--folder", type=Path, help="keep data and models here, and continue them")
    parser.add_argument(
        "--keep", type=Path, default=KEEP, help="keep scores here, by seed, and use those that are there"
    )
    parser.add_argument("--costs", action="store_true", help="measure time and memory; on an idle machine")
    options = parser.parse_args()

    from prepared import changed, prepare

    from hsipipe.artifacts import DegradedPairs
    from hsipipe.params import load_params
    from hsipipe.protocols import protocol_of

    where, params = environment("torch"), changed(load_params(ROOT / "params.yaml"), tree_of(options.set))
    steps = params.sampling.of(names(options.mean)["diffusion"])
    params = params.model_copy(update={"sampling": steps})
    folder = options.folder or Path(tempfile.mkdtemp())
    prepare(params, folder)
    pairs = DegradedPairs.in_project(folder)
    protocol = protocol_of(params, pairs.index())
    counts = [params.sampling.ensemble, options.many]
    settings = without_root(options.set)
    found, means, uncertainty, ndvi, measured = [], [], [], [], []
    for seed in range(options.seeds):
        kept = Kept(options.keep / f"{options.mean}-{seed}.json", settings)
        made = cache(partial(models, params, folder, folder / f"seed-{seed}", options.mean, seed=seed))
        for name in ROWS:
            if name not in kept:
                kept[name] = scores(params, pairs, made()[name], name, protocol)
            headline = {key: np.mean([scene[key] for scene in kept[name][0].values()]) for key in HEADLINE}
            print(seed, name, {key: round(float(value), 5) for key, value in headline.items()}, flush=True)
        if seed == 0:
            # More samples than the metrics take, which costs minutes.
            if "means" not in kept:
                kept["means"] = means_of_samples(params, pairs, made()["diffusion"], counts)
            if options.costs:
                made()
                kept["costs"] = costs(params, folder, folder / "seed-0", options.mean)
            means.append({int(count): value for count, value in kept["means"][0].items()})
            ndvi += [kept["means"][2]] if kept["means"][2] is not None else []
            measured = kept.get("costs", [])
        found.append({name: kept[name][0] for name in ROWS})
        uncertainty.append(kept["diffusion"][1])
    rows = [*goals(found, means, uncertainty, ndvi), *measured]
    show(rows)
    write_record(options.json, {"environment": where, "settings": settings, "mean": options.mean, "rows": rows})


if __name__ == "__main__":
    main()
