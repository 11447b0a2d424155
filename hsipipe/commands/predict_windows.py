"""Super-resolve a scene of any size from file to file in windows, and report how far one is."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import typer
import xarray as xr

from hsipipe.commands.pair_quality import quality_note
from hsipipe.errors import MissingInputError
from hsipipe.formats import check_sinks
from hsipipe.formats.digest import source_digest
from hsipipe.formats.packing import Packing
from hsipipe.formats.regrid import refine
from hsipipe.inference.blend import margin_of
from hsipipe.inference.guard import Judged
from hsipipe.inference.holes import joined
from hsipipe.inference.inputs import bind, no_data_note
from hsipipe.inference.known import domain_of, strip_warnings
from hsipipe.inference.made_of import progress_of
from hsipipe.inference.msi_holes import fill_source
from hsipipe.inference.needs import strip_width
from hsipipe.inference.pair import MsiFile, centres_of, open_msi, pair_notes, psf_of, response_of
from hsipipe.inference.plan import Box, Plan, shard_shape
from hsipipe.inference.run import WindowPrediction
from hsipipe.inference.scene import context_of
from hsipipe.inference.sink import ShardSink, open_sink
from hsipipe.inference.source import Image, SceneSource, survey
from hsipipe.inference.statistics import Statistic, tile_images
from hsipipe.inference.values_found import Found
from hsipipe.inference.wording import COMMAND
from hsipipe.methods.super_resolver import SensorResolver, SuperResolver
from hsipipe.storage.parallel import cluster
from hsipipe.storage.urls import Place

if TYPE_CHECKING:
    from distributed import Client

_COMPARED, _JUDGED = 256, 128
"""Edges in LR pixels of the middle of a scene, in which a pair is compared and a fusion is judged without the truth."""


@dataclass(frozen=True)
class WindowOptions:
    """Options of a prediction in windows.

    Attributes:
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile.
        full_scale: Value of the cube that maps to 1.0.
        statistics: The results, the prediction first.
        count: Number of samples; None: no samples.
        is_guarded: Judge the prediction.
        other_wavelengths: Accept bands of other wavelengths than those of the training.
        memory: Bytes that may be used; None: a quarter of what is free.
        msi: HR-MSI of the same ground, for a fusion model.
        packing: Integers in which the prediction and its quantiles are stored; None: float32.
        judged: Called with the judgement of the prediction.
        found: Called with the statistics of the values of the prediction.
    """

    tile: int
    overlap: int
    full_scale: float
    statistics: Sequence[Statistic]
    count: int | None
    is_guarded: bool
    other_wavelengths: bool
    memory: int | None
    msi: MsiFile | None = None
    packing: Packing | None = None
    judged: Judged | None = None
    found: Found | None = None

    def packings(self) -> list[Packing | None]:
        """Return the packing of each result; a standard deviation is smaller than the steps of integers."""
        return [None if statistic.kind == "std" else self.packing for statistic in self.statistics]


def predict_in_windows(
    model: SuperResolver,
    cube: xr.DataArray,
    source: Place,
    targets: Sequence[Path],
    options: WindowOptions,
    *,
    made_of: Mapping[str, Any],
    provenance: Mapping[str, str],
    load: Callable[[str], SuperResolver] | None = None,
) -> None:
    """Predict a scene and write the results, or go on with an unfinished prediction of them.

    Args:
        model: A model that :func:`hsipipe.inference.run.goes_in_windows`.
        cube: LR-HSI as opened.
        source: Its file or address.
        targets: Files of the results.
        options: Options.
        made_of: What else the values depend on: the model, and how it is used.
        provenance: Attributes of the results that say where they come from.
        load: Loads `model` onto a torch device in another process, for the cluster at ``DASK_SCHEDULER_ADDRESS``; None:
            predict in this process.

    Raises:
        UnreachableError: The cluster does not answer.
        ParamsError: The memory is too small, or the unfinished results are made of something else.
        HsipipeError: As for :func:`hsipipe.commands.predict_file.predict_file`.
    """
    with nullcontext() if load is None else cluster() as client:
        _predict(
            model, cube, source, targets, options, made_of=made_of, provenance=provenance, load=load, client=client
        )


def _predict(
    model: SuperResolver,
    cube: xr.DataArray,
    source: Place,
    targets: Sequence[Path],
    options: WindowOptions,
    *,
    made_of: Mapping[str, Any],
    provenance: Mapping[str, str],
    load: Callable[[str], SuperResolver] | None,
    client: "Client | None",
) -> None:
    plain = model
    model, notes = bind(model, cube, other_wavelengths=options.other_wavelengths)
    bands, height, width = cube.shape
    scale = model.scale
    shard = shard_shape(bands, height, width, scale=scale)
    plan = Plan(height, width, options.tile, options.overlap, shard, margin_of(model))
    check_sinks(targets, (bands, height * scale, width * scale))
    _check_shareable(client, cube, targets)
    msi = None if options.msi is None else open_msi(options.msi, cube, model=model)
    side_by_side = _side_by_side(model, plan, bands, options, client, msi=msi, results=len(targets))

    def wrap(values: Any) -> xr.DataArray:
        return refine(cube, values, scale=scale)

    described = {**made_of, "source": source_digest(source), **_described(options, targets)}
    if options.msi is not None:
        described |= {"--msi": source_digest(options.msi.path), "--msi-full-scale": options.msi.full_scale}
    facts: dict[str, Any] = {"made_of": described, "provenance": provenance, "packings": options.packings()}
    with open_sink(targets, plan, wrap=wrap, bands=bands, scale=scale, **facts) as sink:
        sink.check_space()
        scene = survey(cube, source, full_scale=options.full_scale, example=COMMAND.given("full_scale", 10000))
        say("note", [*notes, *_scene_notes(scene, msi, sink, plan, scale=scale)])
        say("warning", strip_warnings(domain_of(model), bands, scene.strips))
        if msi is not None:
            msi = _without_holes(model, scene, msi)
            say("warning", _pair_notes(model, scene, msi))
        sink.create()
        statistics = options.statistics
        work = WindowPrediction(model, scene, sink, plan, statistics, options.count, options.is_guarded, msi)
        if client is None or load is None:
            work.run(side_by_side=side_by_side)
        else:
            wavelengths = None if model is plain else cube["wavelength_nm"].to_numpy().tolist()
            _run_on(client, work, partial(_load_bound, load, wavelengths), side_by_side=side_by_side)
        _judge(work, options.judged)
        say("note", packing_notes(options.packing, sink.clipped))
        if msi is not None and sink.is_readable:
            say("note", [_quality(model, scene, msi, sink)])
        if options.found is not None:
            options.found(sink.values)
        sink.publish()


def _side_by_side(
    model: SuperResolver,
    plan: Plan,
    bands: int,
    options: WindowOptions,
    client: "Client | None",
    *,
    msi: SceneSource | None,
    results: int,
) -> int:
    """Return how many columns of shards are held at the same time."""
    return strip_width(
        plan,
        bands,
        model.scale,
        **_budget(options, client),
        images=tile_images(model, options.count)[1],
        results=results,
        guarded=options.is_guarded,
        msi_bands=0 if msi is None else msi.shape[0],
        context=context_of(model),
    )


def _scene_notes(scene: SceneSource, msi: SceneSource | None, sink: ShardSink, plan: Plan, *, scale: int) -> list[str]:
    """Describe pixels without data, and windows that an earlier run has done."""
    notes = []
    if share := _share_of_holes(scene, msi, scale=scale):
        notes.append(no_data_note(share))
    if done := len(plan.shards) - len(sink.missing):
        notes.append(f"{done} of {len(plan.shards)} windows are done; the others follow.")
    return notes


def _judge(work: WindowPrediction, judged: Judged | None) -> None:
    """Print what speaks against a prediction, and hand the judgement on."""
    judgement = work.judgement()
    if judgement is not None:
        say("warning", judgement.warnings())
        if judged is not None:
            judged(judgement)


# Dask's cluster is slow to import, and seldom needed.
def _check_shareable(client: "Client | None", cube: xr.DataArray, targets: Sequence[Path]) -> None:
    if client is not None:
        from hsipipe.inference.on_cluster import check_shareable

        check_shareable(cube, targets)


def _run_on(client: "Client", work: WindowPrediction, load: Callable[[str], SuperResolver], **more: int) -> None:
    from hsipipe.inference.on_cluster import run_on_cluster

    run_on_cluster(client, work, load, **more)


def _budget(options: WindowOptions, client: "Client | None") -> dict[str, Any]:
    """Return the memory of windows, and its name: on a cluster half of what a thread of a worker has."""
    if client is None or options.memory is not None:
        return {"memory": options.memory}
    from hsipipe.inference.on_cluster import memory_of_thread

    memory = memory_of_thread(client)
    if memory is None:
        say("note", ["no worker of the cluster states its memory; it is taken to be that of this machine."])
    return {"memory": memory and memory // 2, "name": "half of the memory of a worker's thread"}


def _load_bound(
    load: Callable[[str], SuperResolver], wavelengths: Sequence[float] | None, device: str
) -> SuperResolver:
    """Load a model in a worker, for the bands of the cube."""
    model = load(device)
    return model if wavelengths is None else cast(SensorResolver, model).for_wavelengths(wavelengths)


def show_status(target: Path) -> None:
    """Print how far the prediction of a file is.

    Raises:
        MissingInputError: There is neither a result nor an unfinished one.
    """
    found = progress_of(target)
    if found is not None:
        typer.echo(f"{target}: {found.done} of {found.total} windows are done; run the same command again to go on")
        for key, value in found.made_of.items():
            typer.echo(f"  {key}: {value}")
    elif target.exists():
        typer.echo(f"{target}: complete")
    else:
        raise MissingInputError(f"There is no result at {target}, nor an unfinished one; predict it first.")


def packing_notes(packing: Packing | None, clipped: int) -> list[str]:
    """Describe integers that are written, and how many values they could not hold."""
    if packing is None:
        return []
    steps = f"in steps of {packing.scale:g}" + (f" from {packing.offset:g}" if packing.offset else "")
    lost = f"; {clipped} values lay outside of its range and were clipped" if clipped else "; no value was clipped"
    return [f"values are rounded to {packing.dtype} {steps}{lost}."]


def say(kind: str, texts: Sequence[str]) -> None:
    """Print notes or warnings to stderr."""
    for text in texts:
        print(f"{kind}: {text}", file=sys.stderr)


def _share_of_holes(lr: SceneSource, msi: SceneSource | None, *, scale: int) -> float:
    """Return the share of the pixels of a result that have no data."""
    masks = [None if source is None or source.holes is None else source.holes.mask for source in (lr, msi)]
    holes = joined(*masks, scale=scale)
    return 0.0 if holes is None else float(holes.mean())


def _pair_notes(model: SuperResolver, lr: SceneSource, msi: SceneSource) -> list[str]:
    """Compare the two images in the middle of the scene; return warnings."""
    low, high = (part for part in _middle(lr, msi, scale=model.scale, edge=_COMPARED)[1:])
    return pair_notes(
        low,
        high,
        scale=model.scale,
        psf=psf_of(model),
        response=response_of(model, low, high),
        msi_wavelength_nm=centres_of(msi.cube),
    )


def _without_holes(model: SuperResolver, lr: SceneSource, msi: SceneSource) -> SceneSource:
    """Fill the holes of an HR-MSI from the LR-HSI, if the PSF is known; otherwise it keeps its nearest pixels there."""
    psf = psf_of(model)
    return msi if psf is None else fill_source(lr, msi, scale=model.scale, psf=psf, known=response_of(model, lr, msi))


def _quality(model: SuperResolver, lr: SceneSource, msi: SceneSource, sink: ShardSink) -> str:
    """Describe the quality of the fusion in the middle of the scene."""
    box, low, high = _middle(lr, msi, scale=model.scale, edge=_JUDGED)
    sr = sink.read(box) / np.float32(lr.full_scale)
    if not np.isfinite(sr).all():
        return "the middle of the scene has pixels without data, so that the quality of the fusion is not computed."
    return quality_note(sr, low, high, scale=model.scale, psf=psf_of(model))


def _middle(lr: SceneSource, msi: SceneSource, *, scale: int, edge: int) -> tuple[Box, Image, Image]:
    """Read the middle of a scene, at most `edge` LR pixels wide and high."""
    (y0, y1), (x0, x1) = (((n - min(n, edge)) // 2, (n + min(n, edge)) // 2) for n in lr.shape[1:])
    box = Box(y0, y1, x0, x1)
    return box, lr.read(box), msi.read(Box(*(scale * side for side in box)))


def _described(options: WindowOptions, targets: Sequence[Path]) -> dict[str, Any]:
    return {
        "results": [path.name for path in targets],
        "--tile": options.tile,
        "--overlap": options.overlap,
        "--full-scale": options.full_scale,
        "--samples": options.count,
        "--guard": "warn" if options.is_guarded else "off",
        **({} if options.packing is None else {"--dtype": options.packing.dtype}),
    }
