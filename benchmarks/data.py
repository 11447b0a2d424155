"""Speed and memory of the data part, beside references that are measured in the same run.

    python benchmarks/data.py                    # all three; 20 GB of disk for the last one
    python benchmarks/data.py --only read        # one of degrade, read, memory; the others' figures are kept

degrade: bicubic reduction by four against a port of imresize row by row, and against a plain copy of the cube.
read: batches of 16 random patches through the DataLoader against numpy.memmap, and the ways that were not taken
(zarrs and tensorstore where they are installed: pip install zarrs tensorstore).
memory: peak of download, degrade and patches on a cube that is larger than what they may take.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from record import ROOT, Row, environment, read_record, row, show, write_record  # isort: skip; it picks the cores

import numpy as np

import hsipipe
from hsipipe.degradation.bicubic import bicubic_operator

SCALE = 4
CUBE = (102, 512, 512)
LARGE = (128, 2500, 2300)
LIMIT_MB = 1500
PACKAGES = ("numpy", "zarr", "torch", "dask", "xarray", "zarrs", "tensorstore")


def best(function, *, repeat: int = 5) -> float:
    def once() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    function()
    return min(once() for _ in range(repeat))


def imresize_by_rows(x: np.ndarray, scale: int, *, axes: tuple[int, int] = (1, 2)) -> np.ndarray:
    """imresize as it is commonly ported: every output row, then every output column, is a weighted sum of a few."""
    for axis in axes:
        length = x.shape[axis]
        operator = bicubic_operator(length, length // scale)
        indices = operator.indices % (2 * length)
        indices = np.where(indices < length, indices, 2 * length - 1 - indices)
        out = np.empty((*x.shape[:axis], len(indices), *x.shape[axis + 1 :]), dtype=np.float64)
        along = [-1 if i == axis else 1 for i in range(3)]
        for i, (taps, weights) in enumerate(zip(indices, operator.weights, strict=True)):
            place = (slice(None),) * axis
            out[(*place, i)] = np.sum(x[(*place, taps)] * weights.reshape(along), axis=axis)
        x = out
    return x


def measure_degrade(scratch: Path) -> list[Row]:
    rng = np.random.default_rng(0)
    cube = rng.random(CUBE, dtype=np.float32)
    difference = float(np.abs(hsipipe.degrade(cube, scale=SCALE) - imresize_by_rows(cube, SCALE)).max())
    seconds = best(lambda: hsipipe.degrade(cube, scale=SCALE), repeat=40)
    by_rows = min(
        best(lambda: imresize_by_rows(cube, SCALE), repeat=2),
        best(lambda: [imresize_by_rows(band[None], SCALE) for band in cube], repeat=2),
    )
    pixels = np.ascontiguousarray(cube.transpose(1, 2, 0))
    by_pixels = best(lambda: imresize_by_rows(pixels, SCALE, axes=(0, 1)), repeat=2)
    copy = best(lambda: cube.copy(), repeat=40)
    faster, copies = by_rows / seconds, seconds / copy
    rows = [
        row("degrade 512 x 512 x 102 by 4", 1e3 * seconds, "ms"),
        row("the same, imresize by rows", 1e3 * by_rows, "ms"),
        row("imresize by rows of a cube (y, x, band)", 1e3 * by_pixels, "ms"),
        row("a copy of the cube", 1e3 * copy, "ms"),
        row("times faster than by rows", faster, "x", target=">= 20", met=faster >= 20),
        row("times faster than by rows of (y, x, band)", by_pixels / seconds, "x"),
        row("times a copy", copies, "x", target="<= 2", met=copies <= 2),
        row("largest difference to by rows", difference, "", target="<= 1e-5", met=difference <= 1e-5),
    ]
    for size in (512, 1024, 2048):
        cube = rng.random((31, size, size), dtype=np.float32)
        seconds = best(lambda cube=cube: hsipipe.degrade(cube, scale=SCALE), repeat=5)
        rows.append(row(f"degrade {size} x {size} x 31, each megapixel", 1e9 * seconds / size**2, "ms"))
    growth = float(rows[-1]["value"]) / float(rows[-3]["value"])
    return [*rows, row("cost of a pixel, 2048 against 512", growth, "x", target="<= 1.5", met=growth <= 1.5)]


def measure_read(scratch: Path, *, count: int = 512, rounds: int = 9, seconds: float = 0.4) -> list[Row]:
    from readers import BATCH, make_readers, write_patches

    write_patches(scratch, count)
    readers, missing = make_readers(scratch)
    step = dict.fromkeys(readers, 0)
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(rounds + 1):
        for name, read in readers.items():  # one after another in each round, so that all have the same neighbours
            first, start = step[name], time.perf_counter()
            while step[name] == first or time.perf_counter() - start < seconds:
                read(step[name])
                step[name] += 1
            if turn:  # the first round fills the page cache and starts the workers
                rates[name].append(BATCH * (step[name] - first) / (time.perf_counter() - start))
    reference = median(rates["numpy.memmap"])
    rows = []
    for name, measured in rates.items():
        ratio = median(measured) / reference
        rows.append(row(name, median(measured), "patches/s"))
        # The reference reads and no more, so what also turns the patches is shown beside it and not judged by it.
        target = {"target": ">= 0.5", "met": ratio >= 0.5} if name == "DataLoader" else {}
        rows.append(row(f"{name}, of numpy.memmap", ratio, "x", **target))
    for kind in ("plain", "zstd"):
        size = sum(file.stat().st_size for file in (scratch / f"{kind}.zarr").rglob("*") if file.is_file())
        rows.append(row(f"size of the store, {kind}", size / 1e6, "MB"))
    return rows + [row(f"{package}: {reason}", 0, "") for package, reason in missing.items()]


def measure_memory(scratch: Path) -> list[Row]:
    for stage in ("cube", "stages"):
        subprocess.run([sys.executable, __file__, "--child", stage, str(scratch)], check=True)
    measured = json.loads((scratch / "peaks.json").read_text())
    rows = []
    for stage, (peak, seconds) in measured.items():
        rows += [row(f"{stage}, peak", peak, "MB"), row(f"{stage}, time", seconds, "s")]
    peak = max(peak for peak, _ in measured.values())
    name = f"highest peak, cube of {np.prod(LARGE) * 4 / 1e6:.0f} MB"
    return [*rows, row(name, peak, "MB", target=f"<= {LIMIT_MB}", met=peak <= LIMIT_MB)]


def write_large_cube(scratch: Path) -> None:
    """A Zarr cube that is never in memory as a whole."""
    import dask.array as da
    import xarray as xr

    from hsipipe.storage.stores import rows_per_chunk

    def block(block_info=None) -> np.ndarray:
        place = block_info[None]
        return np.random.default_rng(place["chunk-location"]).random(place["chunk-shape"], dtype=np.float32)

    rows = rows_per_chunk(LARGE)
    heights = tuple(min(rows, LARGE[1] - start) for start in range(0, LARGE[1], rows))
    values = da.map_blocks(block, chunks=((LARGE[0],), heights, (LARGE[2],)), dtype=np.float32)
    nm = np.linspace(400, 1000, LARGE[0])
    cube = xr.DataArray(values, dims=("band", "y", "x"), coords={"wavelength_nm": ("band", nm)}, name="reflectance")
    (scratch / "cubes").mkdir()
    hsipipe.save_cube(cube, scratch / "cubes" / "large.zarr")


def run_stages(scratch: Path) -> None:
    """The three stages in this process, with the highest resident memory of each."""
    from hsipipe.artifacts import DegradedPairs, PatchStore, RawScenes
    from hsipipe.datasets.prepare import prepare_scenes
    from hsipipe.degradation.pairs import make_pairs
    from hsipipe.params import load_params
    from hsipipe.patches.extract import extract_patches
    from hsipipe.storage.publish import publish

    params = load_params(ROOT / "params.yaml")
    dataset = params.dataset.model_copy(update={"name": "folder", "root": str(scratch / "cubes")})
    scenes, pairs, patches = (kind(scratch / kind.__name__) for kind in (RawScenes, DegradedPairs, PatchStore))
    stages = {
        "download": (scenes, lambda out: prepare_scenes(dataset, out)),
        "degrade": (pairs, lambda out: make_pairs(scenes, out, split=params.split, degradation=params.degradation)),
        "patches": (patches, lambda out: extract_patches(pairs, out, patches=params.patches)),
    }
    peaks = {}
    for name, (artifact, stage) in stages.items():
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        start = time.perf_counter()
        with publish(artifact.path) as out:
            stage(out)
        seconds = time.perf_counter() - start
        status = Path("/proc/self/status").read_text().split()
        peaks[name] = (int(status[status.index("VmHWM:") + 1]) * 1024 / 1e6, seconds)
        print(f"{name}: {peaks[name][0]:.0f} MB, {seconds:.0f} s", flush=True)
    (scratch / "peaks.json").write_text(json.dumps(peaks))


PARTS = {"degrade": measure_degrade, "read": measure_read, "memory": measure_memory}
CHILDREN = {"cube": write_large_cube, "stages": run_stages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be given twice")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/data.json", help="where figures go")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files (default: the system's)")
    parser.add_argument("--child", nargs=2, metavar=("STAGE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return CHILDREN[options.child[0]](Path(options.child[1]))
    record = read_record(options.json)
    for part in options.only or PARTS:
        scratch = Path(tempfile.mkdtemp(prefix=f"hsipipe-{part}-", dir=options.scratch))
        try:
            record[part] = {**environment(*PACKAGES), "rows": PARTS[part](scratch)}
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        print(f"{part}: {record[part]['machine']}")
        show(record[part]["rows"])
    write_record(options.json, record)


if __name__ == "__main__":
    main()
