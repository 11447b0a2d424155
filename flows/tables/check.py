"""List what a table needs and what of it is missing on this machine."""

import importlib.util
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.tables.hours import Cost, convolution_rate, costs
from flows.tables.paper_tables import Part
from hsipipe.commands.options import size_text
from hsipipe.datasets.catalogue import DATASETS
from hsipipe.datasets.download import cache_folder
from hsipipe.degradation.psf import make_psf
from hsipipe.degradation.srf import band_names
from hsipipe.methods.catalogue import entry, gae_settings, lineage
from hsipipe.params import Params
from hsipipe.params.data import MEASURED

if TYPE_CHECKING:
    from hsipipe.methods.base import Frame

PATIENCE_H = 24.0
"""Hours of training on a CPU above which a GPU counts as missing."""


@dataclass(frozen=True)
class Finding:
    """One line of the check.

    Attributes:
        what: Kind of need: data, device, package, disk or hours.
        text: One sentence.
        missing: True if the table cannot be run, or not in reasonable time, without it.
    """

    what: str
    text: str
    missing: bool = False

    def line(self) -> str:
        """Return the line to print."""
        state = "missing" if self.missing else "" if self.what == "hours" else "ok"
        return f"{state:8} {self.what:8} {self.text}"


def check(runs: Sequence[tuple[Part, Params]]) -> Iterator[Finding]:
    """Yield what the runs need, in the order data, disk, package, hours, device."""
    named = {params.dataset.name: params for _, params in runs}
    for name, params in named.items():
        yield _data(name, params)
    yield _disk(list(named))
    yield from _packages(runs)
    yield from _hours(runs)


def _data(name: str, params: Params) -> Finding:
    facts, root = DATASETS[name], params.dataset.root
    if root is not None:
        scenes = facts.configure(params.dataset).find(Path(root)) if Path(root).is_dir() else {}
        if scenes:
            return Finding("data", f"{name}: {len(scenes)} scene{'s' if len(scenes) > 1 else ''} in {root}")
        return Finding("data", f"{name}: there is no scene in {root}; expected: {facts.layout}", missing=True)
    presence = facts.presence(cache_folder())
    if presence in ("generated", "cached"):
        return Finding("data", f"{name}: {presence}")
    if not facts.archives:
        return Finding("data", f"{name}: give --root {name}=FOLDER with {facts.layout}", missing=True)
    return Finding(
        "data",
        f"{name}: {presence}; run hsipipe download {name} ({size_text(facts.size_bytes)}), or give "
        f"--root {name}=FOLDER with {facts.layout}",
        missing=True,
    )


def _disk(names: Sequence[str]) -> Finding:
    needed = 4 * sum(DATASETS[name].size_bytes for name in names)
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{size_text(free)} are free; about {size_text(needed)} are needed, four times the download"
    return Finding("disk", text, missing=free < needed)


def _packages(runs: Sequence[tuple[Part, Params]]) -> Iterator[Finding]:
    used = [
        gae_settings(params, autoencoder)
        for _, params in runs
        for row in params.compare
        for name in lineage(row)
        if (autoencoder := entry(name).autoencoder) is not None
    ]
    if any(gae.encoder == "network" and gae.loss.perceptual for gae in used):
        found = importlib.util.find_spec("torchvision") is not None
        text = "torchvision, of the perceptual loss" + ("" if found else ": make install EXTRAS=test,perceptual")
        yield Finding("package", text, missing=not found)


def _hours(runs: Sequence[tuple[Part, Params]]) -> Iterator[Finding]:
    import torch

    with_gpu = torch.cuda.is_available() and runs[0][1].hardware.accelerator != "cpu"
    rate = convolution_rate("cuda" if with_gpu else "cpu")
    total = 0.0
    for part, params in runs:
        frame = _frame(params)
        if frame is None:
            yield Finding("hours", f"{part.title}: unknown, since the number of bands is in the files")
            continue
        for cost in costs(params, frame):
            if math.isnan(hours := cost.hours(rate)):
                yield Finding("hours", f"{part.title}: {cost.name}, unknown, since its operations cannot be counted")
                continue
            total += hours
            yield Finding("hours", _line(part, cost, hours))
    source = f"{rate / 1e9:.0f} GFLOP/s measured for a convolution"
    if with_gpu:
        yield Finding("device", f"{torch.cuda.get_device_name()}; at least {_text(total)} in all, by {source}")
        return
    threads = torch.get_num_threads()
    yield Finding(
        "device",
        f"{'no CUDA device; ' if total > PATIENCE_H else ''}about {_text(total)} in all on this CPU, by {source} on "
        f"{threads} thread{'' if threads == 1 else 's'}",
        missing=total > PATIENCE_H,
    )


def _frame(params: Params) -> "Frame | None":
    from hsipipe.methods.base import Frame

    dataset, degradation = params.dataset, params.degradation
    bands = dataset.synthetic.bands if dataset.name == "synthetic" else DATASETS[dataset.name].bands
    if bands is None or degradation.srf == MEASURED:
        return None
    msi_bands = 0 if degradation.srf is None else len(band_names(degradation.srf))
    return Frame(bands, degradation.scale, make_psf(degradation.psf), msi_bands, patch=params.patches.size)


def _line(part: Part, cost: Cost, hours: float) -> str:
    return (
        f"{part.title}: {cost.name} {_text(hours)}, {cost.steps} steps of {cost.flop / 1e9:.3g} GFLOP at "
        f"{100 * cost.efficiency:.0f} % of the rate"
    )


def _text(hours: float) -> str:
    return f"{hours:.0f} h" if hours >= 10 else f"{hours:.2g} h"
