"""Measure random reads of patches against numpy.memmap: docs/adr/0007-plain-patches.md.

    python benchmarks/patch_reading.py

Batches of 16 random patches through the DataLoader, and through the alternatives that were not chosen (zarrs and
tensorstore where they are installed: pip install zarrs tensorstore).
"""

import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from record import Row, arguments, environment, row, show, write_record  # isort: skip

import numpy as np
import zarr

from hsipipe.artifacts.patch_arrays import PatchArrays, turn
from hsipipe.patches.loader import make_loader
from hsipipe.patches.sampler import batch_samples
from hsipipe.storage.stores import ArraySpec, create_store, get_array, open_store

NAMES = ("hr", "lr")
BANDS, SIZE, LOW, SHARD, BATCH = 102, 64, 16, 64, 16
Reader = Callable[[int], object]
"""Reads the batch of a step: hr and lr by name."""


def write_patches(folder: Path, count: int) -> None:
    """Write the same patches as files for numpy.memmap, and as stores with and without compression."""
    shapes = {"hr": (count, BANDS, SIZE, SIZE), "lr": (count, BANDS, LOW, LOW)}
    stores = {}
    for compressed in (False, True):
        layout = {
            name: ArraySpec(
                shape, ("patch", "band", "y", "x"), (1, *shape[1:]), shards=(SHARD, *shape[1:]), compressed=compressed
            )
            for name, shape in shapes.items()
        }
        stores[compressed] = create_store(folder / f"{'zstd' if compressed else 'plain'}.zarr", layout, attrs={})
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        flat = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, count, SHARD):
            part = slice(start, min(start + SHARD, count))
            # 16-bit sensor counts scaled to [0, 1] compress about as well as real scenes.
            flat[part] = (rng.normal(9000, 1500, size=flat[part].shape).clip(0, 65535) // 1 / 65535).astype(np.float32)
            for group in stores.values():
                get_array(group, name)[part] = flat[part]
        flat.flush()


def make_readers(folder: Path) -> tuple[dict[str, Reader], dict[str, str]]:
    """The readers by name, the reference first; and the skipped ones, with the reason."""
    plain, zstd = folder / "plain.zarr", folder / "zstd.zarr"
    flat = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in NAMES}
    count = len(flat["hr"])

    def drawn(step):
        return batch_samples(count, BATCH, seed=0, step=step)

    def memmap(step):
        return {name: values[drawn(step).index] for name, values in flat.items()}

    def memmap_turned(step):
        upright, code = memmap(step), drawn(step).code.tolist()
        return {name: np.stack([turn(p, c) for p, c in zip(v, code, strict=True)]) for name, v in upright.items()}

    def loader(**options):
        batches = iter(make_loader(plain, NAMES, batch=BATCH, seed=0, **options))
        return lambda step: next(batches)

    patches = PatchArrays(plain, NAMES)
    readers: dict[str, Reader] = {
        "numpy.memmap": memmap,
        "numpy.memmap, then turned": memmap_turned,
        "DataLoader": loader(augment=False),
        "DataLoader, turned": loader(),
        "DataLoader, turned, 1 worker": loader(workers=1),
        "DataLoader, turned, 2 workers": loader(workers=2),
        "PatchArrays, without the loader": lambda step: patches.read(drawn(step).index),
        "decoded shards kept in memory": _from_memory(zstd, drawn),
    }
    for kind, path in (("plain", plain), ("zstd", zstd)):
        group = open_store(path)
        arrays = {name: get_array(group, name) for name in NAMES}
        readers[f"Zarr, {kind}, patch by patch"] = lambda step, arrays=arrays: {
            name: np.stack([array[i] for i in drawn(step).index.tolist()]) for name, array in arrays.items()
        }
    readers["Zarr, zstd, oindex"] = lambda step: {name: a.oindex[drawn(step).index] for name, a in arrays.items()}
    missing = {}
    for package, adder in (("zarrs", _add_zarrs), ("tensorstore", _add_tensorstore)):
        if find_spec(package) is None:
            missing[package] = "not installed"
        else:
            adder(readers, drawn, {"plain": plain, "zstd": zstd})
    return readers, missing


def _from_memory(path: Path, drawn) -> Reader:
    decoded = {}

    def read(step):
        if not decoded:
            group = open_store(path)
            decoded.update({name: get_array(group, name)[...] for name in NAMES})
        return {name: values[drawn(step).index] for name, values in decoded.items()}

    return read


def _add_zarrs(readers, drawn, paths) -> None:
    for kind, path in paths.items():
        with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
            group = zarr.open_group(path, mode="r")
            arrays = {name: group[name] for name in NAMES}

        def read(step, arrays=arrays):
            with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
                return {n: np.stack([a[i] for i in drawn(step).index.tolist()]) for n, a in arrays.items()}

        readers[f"zarrs, {kind}, patch by patch"] = read


def _add_tensorstore(readers, drawn, paths) -> None:
    import tensorstore

    for kind, path in paths.items():
        arrays = {
            name: tensorstore.open(
                {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path / name}/"}}, open=True, read=True
            ).result()
            for name in NAMES
        }

        def read(step, arrays=arrays):
            futures = {name: [a[i].read() for i in drawn(step).index.tolist()] for name, a in arrays.items()}
            return {name: np.stack([future.result() for future in asked]) for name, asked in futures.items()}

        readers[f"tensorstore, {kind}"] = read


def measure(scratch: Path, *, count: int = 512, rounds: int = 9, seconds: float = 0.4) -> list[Row]:
    write_patches(scratch, count)
    readers, missing = make_readers(scratch)
    step = dict.fromkeys(readers, 0)
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(rounds + 1):
        for name, read in readers.items():  # alternating, so that all meet the same load
            first, start = step[name], time.perf_counter()
            while step[name] == first or time.perf_counter() - start < seconds:
                read(step[name])
                step[name] += 1
            if number:  # the first round fills the page cache and starts the workers
                rates[name].append(BATCH * (step[name] - first) / (time.perf_counter() - start))
    reference = median(rates["numpy.memmap"])
    rows = []
    for name, measured in rates.items():
        ratio = median(measured) / reference
        rows.append(row(name, median(measured), "patches/s"))
        # The reference only reads: a target for readers that also turn the patches would be unfair.
        target = {"target": ">= 0.5", "met": ratio >= 0.5} if name == "DataLoader" else {}
        rows.append(row(f"{name}, of numpy.memmap", ratio, "x", **target))
    for kind in ("plain", "zstd"):
        size = sum(file.stat().st_size for file in (scratch / f"{kind}.zarr").rglob("*") if file.is_file())
        rows.append(row(f"size of the store, {kind}", size / 1e6, "MB"))
    return rows + [row(f"{package}: {reason}", 0, "") for package, reason in missing.items()]


def main() -> None:
    parser = arguments(__doc__, result="patch_reading")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files (default: the system's)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hsipipe-read-", dir=options.scratch) as scratch:
        rows = measure(Path(scratch))
    where = environment("numpy", "zarr", "torch", "zarrs", "tensorstore")
    show(rows)
    write_record(options.json, {"read": {**where, "rows": rows}})


if __name__ == "__main__":
    main()
