"""Measure `hsipipe predict` on generated scenes: peak memory, CPU time per pixel, and kill -9 at random moments.

    python benchmarks/scenes.py --edge 600 1200 2400
    python benchmarks/scenes.py --edge 120 --bands 31 --kills 20 --part kills
    python benchmarks/scenes.py --edge 240 --bands 31 --workers 2 --worker-kills 10 --part worker-kills
    python benchmarks/scenes.py --edge 480 --bands 31 --workers 1 2 --part cluster
    python benchmarks/scenes.py --edge 300 600 1200 2400 --integers --alone --part integers
    python benchmarks/scenes.py --edge 1000 --scale 3 --fuse fusion-fast sfim gsa mtf-glp --part fusion

Each prediction runs in a new process. The peak is its maximum resident set size.
For the throughput, one process predicts tiles that are ready in memory, then the scene, then the tiles again. Wall time
depends on what else runs on the machine, CPU time hardly does. The scene is judged (--guard warn). The ratio of tiles
counts the overlaps of tiles as work of the model; the ratio of pixels counts the pixels of the scene alone. A faster
model lowers both, so that the CPU time per pixel is what to compare between versions.
The plain loop is what one writes with rasterio: read a window, predict it, write its core. It neither blends, judges
nor continues. With --terratorch PYTHON, the tiled inference of terratorch predicts the scene in memory, too, by an
interpreter that has it (benchmarks/terratorch_tiles.py).
With --alone, neither the plain loop nor the tiles in memory are measured. With --integers, scene and result are 16 bit
integers, a result of a quarter of the disk: that of 2,400 pixels in float32 has 83 GB.
With --fuse, each method fuses a pair of the first edge, with an HR-MSI of 10 bands. fusion-fast is its regression with
random weights.
With --workers, the smallest scene is predicted on Dask clusters of so many processes with a thread each, and by one
process without a cluster. The processes have imported what they need before. On a busy machine, compare the CPU time:
that of each of two workers should be half of that of one.
With --part evaluate, the stages degrade (with the copy of the scenes before it), patches, evaluate and report get a
test scene of each edge, and small scenes for training and validation; each stage runs in a new process. The method is
bicubic interpolation, so that the peak is that of the scores. --code measures another checkout, such as an older one.
The model is a pca-residual of the sizes and the back-projection in params.yaml with random weights, since its time does
not depend on their values.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import ROOT, arguments, environment, read_record, row, show, write_record

TOP = 1000
"""Integer of the full range; few, so that they compress."""
MSI_BANDS = 10


def main():
    parser = arguments(__doc__, result="scenes")
    parser.add_argument("--edge", type=int, nargs="+", default=[600, 1200, 2400], help="edges of the scenes in pixels")
    parser.add_argument("--bands", type=int, default=224)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--memory", default="2GB", help="the option of hsipipe predict")
    parser.add_argument("--suffix", default=".zarr", help="of the result")
    parser.add_argument("--kills", type=int, default=0, help="kill -9 so many times on the smallest scene")
    parser.add_argument("--worker-kills", type=int, default=0, help="kill -9 so many workers of the first cluster")
    parser.add_argument("--alone", action="store_true", help="measure only the command")
    parser.add_argument("--integers", action="store_true", help="scene and result are integers of 16 bits")
    parser.add_argument("--fuse", nargs="+", default=[], help="methods that fuse a pair")
    parser.add_argument(
        "--terratorch", type=Path, metavar="PYTHON", help="interpreter of an environment with terratorch"
    )
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, nargs="+", default=[], help="processes of Dask clusters to compare")
    parser.add_argument("--folder", type=Path, help="place of the scenes and results; default: a temporary folder")
    parser.add_argument("--part", default="rows", help="name of the rows in the record; those of other parts are kept")
    parser.add_argument("--code", type=Path, default=ROOT, help="checkout whose stages are measured by --part evaluate")
    parser.add_argument("--throughput", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.throughput is not None:
        if options.plain:
            plain_loop(options.folder, options.throughput)
        else:
            print(json.dumps(throughput(options.folder, options.throughput, options)))
        return
    if options.stage is not None:
        stage(options.stage, options.folder, options.scale)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        rows = part_of(options)(Path(place), options)
    show(rows)
    sizes = {key: getattr(options, key) for key in ("bands", "scale", "memory", "suffix")}
    packages = environment("numpy", "xarray", "zarr", "torch", "rasterio")
    record = {**read_record(options.json), options.part: {"environment": packages, "sizes": sizes, "rows": rows}}
    write_record(options.json, record)


def part_of(options):
    """Choose what is measured."""
    if options.part.startswith("evaluate"):
        return stages
    return on_pairs if options.fuse else on_clusters if options.workers else measure


def measure(folder, options):
    rows, per_pixel = [], {}
    numbers = ["--dtype", "like-input", "--full-scale", TOP] if options.integers else []
    save_model(folder / "model", options.bands, options.scale)
    for edge in options.edge:
        scene, result = folder / f"{edge}.dat", folder / f"{edge}_sr{options.suffix}"
        write_scene(scene, options.bands, edge, integers=options.integers)
        seconds, peak = timed([*command(folder, scene, result, options.memory), *numbers])
        whole_gb = (2 if options.integers else 4) * options.bands * (edge * options.scale) ** 2 / 1e9
        name = f"{edge} x {edge} x {options.bands} at x{options.scale}"
        per_pixel[edge] = seconds / edge**2
        rows += [
            row(f"{name}: result", whole_gb, "GB"),
            row(f"{name}: peak memory", peak / 1e9, "GB", target="< 3", met=peak < 3e9),
            row(f"{name}: CPU time per LR pixel", 1e6 * per_pixel[edge], "us"),
        ]
        if not options.alone:
            rows += beside(folder, edge, name, options)
        if options.terratorch is not None:
            rows += in_terratorch(folder, scene, name, options)
        if edge == min(options.edge) and options.kills:
            rows += kill(folder, scene, result, options)
        remove(result)
        scene.unlink()
    if len(per_pixel) > 1:
        spread = max(per_pixel.values()) / min(per_pixel.values()) - 1
        rows.append(
            row("CPU time per pixel over the sizes", 100 * spread, "% apart", target="<= 10", met=spread <= 0.1)
        )
    return rows


def beside(folder, edge, name, options):
    """Measure the plain loop, and the tiles that are ready in memory."""
    plain = timed([sys.executable, __file__, "--throughput", edge, "--plain", "--folder", folder])
    given = {"--bands": options.bands, "--memory": options.memory, "--suffix": options.suffix, "--folder": folder}
    share = json.loads(run(["--throughput", edge, *(word for pair in given.items() for word in pair)]))
    return [
        row(f"{name}: plain rasterio loop, CPU time per LR pixel", 1e6 * plain[0] / edge**2, "us"),
        row(f"{name}: plain rasterio loop, peak memory", plain[1] / 1e9, "GB"),
        row(f"{name}: throughput / ready tiles, wall", share[0], "", target=">= 0.9", met=share[0] >= 0.9),
        row(f"{name}: throughput / ready tiles, CPU", share[1], ""),
        row(f"{name}: throughput / pixels of ready tiles, CPU", share[1] * core_share(edge), ""),
    ]


def in_terratorch(folder, scene, name, options):
    script, result = Path(__file__).with_name("terratorch_tiles.py"), folder / "terratorch.npy"
    with tempfile.TemporaryFile("w+") as said:
        seconds, peak = timed([options.terratorch, script, scene, folder / "model", result], stdout=said)
        said.seek(0)
        own = float(said.read().split()[-1])
    result.unlink()
    pixels = int(name.split()[0]) ** 2
    return [
        row(f"{name}: terratorch, CPU time per LR pixel", 1e6 * seconds / pixels, "us"),
        row(f"{name}: terratorch without its start, CPU time per LR pixel", 1e6 * own / pixels, "us"),
        row(f"{name}: terratorch, peak memory", peak / 1e9, "GB"),
    ]


def on_pairs(folder, options):
    """Fuse a pair by each method."""
    rows, edge = [], options.edge[0]
    low, fine = folder / "low.dat", folder / "fine.dat"
    write_scene(low, options.bands, edge)
    write_scene(fine, MSI_BANDS, edge * options.scale, period=20 * options.scale)
    for method in options.fuse:
        result = folder / f"{method}{options.suffix}"
        save_fusion(folder / "model", method, options)
        seconds, peak = timed([*command(folder, low, result, options.memory), "--msi", fine])
        remove(result)
        remove(folder / "model")
        name = f"{method}, {edge} x {edge} x {options.bands} at x{options.scale}"
        rows += [
            row(f"{name}: peak memory", peak / 1e9, "GB", target="< 3", met=peak < 3e9),
            row(f"{name}: CPU time per LR pixel", 1e6 * seconds / edge**2, "us"),
        ]
    return rows


def on_clusters(folder, options):
    """Predict a scene by one process, and on clusters of one-threaded workers; compare times and values."""
    from distributed import LocalCluster

    edge = min(options.edge)
    scene, small = folder / f"{edge}.dat", folder / "small.dat"
    save_model(folder / "model", options.bands, options.scale)
    write_scene(scene, options.bands, edge)
    write_scene(small, options.bands, 64)
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, seconds, spent = folder / "whole.zarr", {}, {}
    start = time.perf_counter()
    predict(folder, scene, whole, options.memory, env=one)
    alone = time.perf_counter() - start
    rows = [row(f"{edge} x {edge} x {options.bands}: one process", alone, "s")]
    for count in options.workers:
        with LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as workers:
            env, result = {**one, "DASK_SCHEDULER_ADDRESS": workers.scheduler_address}, folder / f"{count}.zarr"
            for number in range(count):
                predict(folder, small, folder / f"small{number}.zarr", options.memory, env=env)
            if options.worker_kills:
                return kill_workers(
                    workers, command(folder, scene, result, options.memory), env, whole, result, options
                )
            start, before = time.perf_counter(), cpu_time(workers)
            predict(folder, scene, result, options.memory, env=env)
            seconds[count], spent[count] = time.perf_counter() - start, cpu_time(workers) - before
        same = equal(whole, result)
        rows += [
            row(f"{count} workers", seconds[count], "s"),
            row(f"{count} workers: CPU time of all together", spent[count], "s"),
            row(f"{count} workers: identical values", float(same), "", target="1", met=same),
        ]
        remove(result)
    first, last = options.workers[0], options.workers[-1]
    name = f"time of {first} / time of {last} workers"
    rows.append(row(name, seconds[first] / seconds[last], ""))
    rows.append(row(f"CPU {name} each", last * spent[first] / (first * spent[last]), ""))
    return rows


def cpu_time(workers):
    """Return the CPU time in seconds that the workers of a cluster have taken."""
    import psutil

    return sum(sum(psutil.Process(worker.pid).cpu_times()[:2]) for worker in workers.workers.values())


STAGES = ("degrade", "patches", "evaluate", "report")


def stages(folder, options):
    """Measure the peak memory and the CPU time of each stage on a test scene of each edge."""
    rows = []
    for edge in options.edge:
        place = folder / str(edge)
        (place / "scenes").mkdir(parents=True)
        (place / "bands.json").write_text(str(options.bands))
        for part in ("train", "val", "test"):
            write_scene(place / "scenes" / f"{part}.dat", options.bands, edge if part == "test" else 64 * options.scale)
        scene_gb = 4 * options.bands * edge**2 / 1e9
        name = f"{edge} x {edge} x {options.bands} ({scene_gb:.2g} GB)"
        for each in STAGES:
            seconds, peak = staged(each, place, options)
            rows.append(row(f"{name}: {each}, peak memory", peak / 1e9, "GB"))
            rows.append(row(f"{name}: {each}, CPU time", seconds, "s"))
        remove(place)
    return rows


def staged(name, place, options):
    """Run a stage in a new process; return its CPU time in seconds, and the peak of its resident memory in bytes."""
    words = [sys.executable, __file__, "--stage", name, "--folder", place, "--scale", options.scale]
    env = {**os.environ, "PYTHONPATH": str(options.code)}
    with subprocess.Popen([str(word) for word in words], cwd=options.code, env=env) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the stage {name} ended with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def stage(name, place, scale):
    """Run a stage on the scenes of a folder; it reads what the one before has written there."""
    import numpy as np

    from hsipipe.artifacts import DegradedPairs, RawScenes
    from hsipipe.datasets.prepare import prepare_scenes
    from hsipipe.degradation.pairs import make_pairs
    from hsipipe.evaluation.comparison import RowScores, compare_scores, read_scores
    from hsipipe.evaluation.report import write_report
    from hsipipe.evaluation.score_method import score_method
    from hsipipe.methods.bicubic import Bicubic
    from hsipipe.params import load_params
    from hsipipe.patches.extract import extract_patches
    from hsipipe.protocols import make_protocol

    bands = json.loads((place / "bands.json").read_text())
    nm = np.linspace(400, 1000, bands).tolist()
    params = load_params(ROOT / "params.yaml")
    folder = params.dataset.folder.model_copy(update={"wavelength_nm": nm})
    frame = {
        "dataset": params.dataset.model_copy(
            update={"name": "folder", "root": str(place / "scenes"), "folder": folder}
        ),
        "split": params.split.model_copy(update={"by": "scene", "test_scenes": ["test"], "val_scenes": ["val"]}),
        "degradation": params.degradation.model_copy(update={"scale": scale}),
    }
    folders = {each: place / each for each in ("raw", "pairs", "patches", "scores", "report")}
    pairs = DegradedPairs(folders["pairs"])
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    if name == "degrade":
        prepare_scenes(frame["dataset"], folders["raw"])
        make_pairs(RawScenes(folders["raw"]), pairs.path, split=frame["split"], degradation=frame["degradation"])
    elif name == "patches":
        extract_patches(pairs, folders["patches"], patches=params.patches)
    elif name == "evaluate":
        protocol = make_protocol("default", plan=pairs.index()["splits"], srf=pairs.index()["srf"], **frame)
        given = {"row": "bicubic", "sha256": "0" * 64, "protocol": protocol, "sampling": params.sampling}
        score_method(Bicubic(scale), pairs, folders["scores"], **given)
    else:
        metrics = compare_scores([RowScores("bicubic", [read_scores(folders["scores"])])])
        write_report({"bicubic": folders["scores"]}, metrics, folders["report"], pairs=pairs)


def kill_workers(workers, words, env, whole, result, options):
    """Kill workers of a cluster at random moments, which start again, and compare the files of the results."""
    rng, killed, runs = random.Random(0), 0, 0
    while killed < options.worker_kills:
        remove(result)
        process, runs = subprocess.Popen(list(map(str, words)), cwd=ROOT, env=env, stderr=subprocess.DEVNULL), runs + 1
        while process.poll() is None:
            time.sleep(rng.uniform(2, 6))
            # Three deaths of one task end it, so that a run meets two at most.
            if process.poll() is None and killed < min(2 * runs, options.worker_kills):
                os.kill(rng.choice(list(workers.workers.values())).pid, signal.SIGKILL)
                killed += 1
        if process.returncode:
            sys.exit(f"the prediction ended with exit code {process.returncode}")
    same = contents(whole) == contents(result)
    return [
        row("kills of a worker", killed, ""),
        row("identical bytes after them", float(same), "", target="1", met=same),
    ]


def kill(folder, scene, whole, options):
    """Kill a prediction at random moments, run it again until it is complete, and compare the files."""
    rng, done, again, redone = random.Random(0), 0, folder / f"again{options.suffix}", 0
    start = time.perf_counter()
    predict(folder, scene, again, options.memory)
    seconds = time.perf_counter() - start
    remove(again)
    while done < options.kills:
        before = records(again)
        process = subprocess.Popen(command(folder, scene, again, options.memory), stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.1, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done += 1
            after = records(again)
            redone += 0 if again.exists() else sum(after.get(name) != noted for name, noted in before.items())
            continue
        remove(again)
    predict(folder, scene, again, options.memory)
    same = contents(whole) == contents(again)
    left = [path.name for path in folder.glob(f".{again.name}*")]
    remove(again)
    return [
        row("kills", done, ""),
        row("shards that were complete and done again", redone, "", target="0", met=not redone),
        row(
            "identical bytes after the kills, nothing left",
            float(same and not left),
            "",
            target="1",
            met=same and not left,
        ),
    ]


def records(result):
    """Return when each shard of an unfinished result was completed."""
    from hsipipe.inference.made_of import DONE
    from hsipipe.storage.publish import unfinished

    return {path.name: path.stat().st_mtime_ns for path in (unfinished(result) / DONE).glob("*.json")}


def contents(store):
    """Return the bytes of the shards of a Zarr store; its metadata has the date of the run."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and "c" in path.parts
    }


def equal(one, other):
    import numpy as np

    from hsipipe.formats import open_cube
    from hsipipe.formats.lazy import blocks

    pairs = zip(blocks(open_cube(one)), blocks(open_cube(other)), strict=True)
    return all(np.array_equal(a, b) for (_, a), (_, b) in pairs)


def command(folder, scene, result, memory):
    return [sys.executable, "-m", "flows", "predict", scene, result, "--model", folder / "model", "--memory", memory]


def predict(folder, scene, result, memory, env=None):
    """Return the CPU time in seconds and the peak of the resident memory in bytes."""
    return timed(command(folder, scene, result, memory), env=env)


def timed(words, env=None, stdout=None):
    """Return the CPU time of a command in seconds, and the peak of its resident memory in bytes."""
    with subprocess.Popen(list(map(str, words)), cwd=ROOT, env=env, stdout=stdout) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words[-1]}: the prediction ended with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def run(words):
    done = subprocess.run([sys.executable, __file__, *map(str, words)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def throughput(folder, edge, options):
    """Return wall and CPU time of tiles that are ready in memory, relative to those of the scene of the same tiles."""
    import numpy as np

    from hsipipe.commands.predict_file import predict_file
    from hsipipe.inference.inputs import OVERLAP, TILE
    from hsipipe.memory import parse_size
    from hsipipe.methods.catalogue import load_model

    loaded = load_model(folder / "model")
    tiles = np.random.default_rng(0).random((2, 1, options.bands, TILE, TILE), dtype=np.float32)

    def clock():
        return np.array([time.perf_counter(), time.process_time()])

    def ready(count):
        start = clock()
        for number in range(count):
            loaded.predict(tiles[number % 2])
        return (clock() - start) / count

    ready(1)
    before, start = ready(5), clock()
    target = folder / f"{edge}_throughput{options.suffix}"
    predict_file(
        folder / f"{edge}.dat", target, model=str(folder / "model"), tile=TILE, overlap=OVERLAP, full_scale=1.0,
        memory=parse_size(options.memory),
    )  # fmt: skip
    seconds = clock() - start
    remove(target)
    return list((before + ready(5)) / 2 * count_tiles(edge) / seconds)


def plain_loop(folder, edge):
    """Predict a scene window by window with rasterio, and write the core of each."""
    import rasterio
    from rasterio.windows import Window

    from hsipipe.inference.inputs import OVERLAP, TILE
    from hsipipe.methods.catalogue import load_model

    loaded, target = load_model(folder / "model"), folder / f"{edge}_plain.tif"
    core, scale = TILE - 2 * OVERLAP, loaded.scale
    with rasterio.open(folder / f"{edge}.dat") as source:
        options = {"width": edge * scale, "height": edge * scale, "count": source.count, "dtype": "float32"}
        layout = {"tiled": True, "blockxsize": core * scale, "blockysize": core * scale, "bigtiff": "yes"}
        with rasterio.open(target, "w", driver="GTiff", interleave="band", **options, **layout) as sink:
            for y in range(0, edge, core):
                for x in range(0, edge, core):
                    top, left, high, wide = (
                        max(0, y - OVERLAP),
                        max(0, x - OVERLAP),
                        min(core, edge - y),
                        min(core, edge - x),
                    )
                    size = min(edge, x + wide + OVERLAP) - left, min(edge, y + high + OVERLAP) - top
                    (sr,) = loaded.predict(source.read(window=Window(left, top, *size))[None])
                    rows, columns = (slice(n * scale, (n + m) * scale) for n, m in ((y - top, high), (x - left, wide)))
                    place = Window(x * scale, y * scale, wide * scale, high * scale)
                    sink.write(sr[:, rows, columns], window=place)
    target.unlink()


def core_share(edge):
    """Return the pixels of a scene as a share of those of its tiles."""
    from hsipipe.inference.inputs import TILE

    return edge**2 / (count_tiles(edge) * min(TILE, edge) ** 2)


def count_tiles(edge):
    from hsipipe.inference.inputs import OVERLAP, TILE
    from hsipipe.inference.plan import Plan

    plan = Plan(edge, edge, TILE, OVERLAP)
    return len(plan.tile_rows) * len(plan.tile_columns)


def save_model(folder, bands, scale):
    import torch

    from hsipipe.methods.base import Frame
    from hsipipe.methods.catalogue import method_settings
    from hsipipe.methods.pca_residual import PcaResidual
    from hsipipe.params import load_params
    from hsipipe.storage.publish import publish

    torch.manual_seed(0)
    params = load_params(ROOT / "params.yaml")
    model = PcaResidual(Frame(bands, scale), method_settings(params, "pca-residual"))
    model.consistency = params.sampling.of("pca-residual").consistency
    torch.nn.init.orthogonal_(model.basis)
    torch.nn.init.normal_(model.tail.weight, std=0.001)
    with publish(folder) as out:
        model.save(out)


def save_fusion(folder, method, options):
    import torch

    from hsipipe.degradation.psf import Psf
    from hsipipe.methods.catalogue import method_settings, methods
    from hsipipe.methods.fusion.setup import Denoising, Pairing
    from hsipipe.methods.fusion_fast import FusionFast
    from hsipipe.params import load_params
    from hsipipe.storage.publish import publish

    psf = Psf("gaussian", mtf=0.3)
    if method == "fusion-fast":
        params = load_params(ROOT / "params.yaml")
        own = method_settings(params, "fusion-fast-regression")
        torch.manual_seed(0)
        model = FusionFast(
            Pairing(options.bands, MSI_BANDS, options.scale, psf, "estimated"),
            Denoising("regression", own.diffusion.schedule, own.diffusion.steps, "x0", scale_input=True),
            components=own.components, windows=own.windows, width=own.width, blocks=own.blocks,
        )  # fmt: skip
        torch.nn.init.normal_(model.tail.weight, std=0.05)
        model = model.with_sampling(params.sampling.of("fusion-fast-regression"))
    else:
        model = methods()[method](options.scale, psf)
    with publish(folder) as out:
        model.save(out)


def write_scene(path, bands, edge, *, integers=False, period=20):
    """Write waves as ENVI, interleaved by line, row by row: floats with noise, or integers."""
    import numpy as np

    rng, x = np.random.default_rng(0), (np.arange(edge) + 0.5) / period
    phase = np.linspace(0, 3, bands)[:, None]
    with path.open("wb") as stream:
        for y in range(edge):
            line = 0.5 + 0.3 * np.sin(x + phase + (y + 0.5) / (1.5 * period))
            if integers:
                stream.write(np.rint(TOP * line).astype("<u2").tobytes())
            else:
                stream.write((line + rng.normal(0, 0.002, (bands, edge))).astype("<f4").tobytes())
    path.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {edge}\nlines = {edge}\nbands = {bands}\nheader offset = 0\nfile type = ENVI Standard\n"
        f"data type = {12 if integers else 4}\ninterleave = bil\nbyte order = 0\n"
    )


def remove(path):
    path.with_name(path.name + ".hdr").unlink(missing_ok=True)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
