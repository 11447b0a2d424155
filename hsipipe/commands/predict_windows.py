"""Super-resolve a scene of any size from file to file in windows, and report how far one is."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import xarray as xr

from hsipipe.errors import MissingInputError
from hsipipe.formats import check_sinks
from hsipipe.formats.digest import source_digest
from hsipipe.formats.regrid import refine
from hsipipe.inference.inputs import bind, no_data_note
from hsipipe.inference.known import domain_of, strip_warnings
from hsipipe.inference.needs import strip_width
from hsipipe.inference.plan import Plan, shard_shape
from hsipipe.inference.run import WindowPrediction
from hsipipe.inference.sink import open_sink, progress_of
from hsipipe.inference.source import survey
from hsipipe.inference.statistics import Statistic, tile_images
from hsipipe.inference.wording import COMMAND
from hsipipe.methods.super_resolver import SuperResolver


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
    """

    tile: int
    overlap: int
    full_scale: float
    statistics: Sequence[Statistic]
    count: int | None
    is_guarded: bool
    other_wavelengths: bool
    memory: int | None


def predict_in_windows(
    model: SuperResolver,
    cube: xr.DataArray,
    source: Path,
    targets: Sequence[Path],
    options: WindowOptions,
    *,
    made_of: Mapping[str, Any],
) -> None:
    """Predict a scene and write the results, or go on with an unfinished prediction of them.

    Args:
        model: A model that :func:`hsipipe.inference.run.goes_in_windows`.
        cube: LR-HSI as opened.
        source: Its file.
        targets: Files of the results.
        options: Options.
        made_of: What else the values depend on: the model, and how it is used.

    Raises:
        ParamsError: The memory is too small, or the unfinished results are made of something else.
        HsipipeError: As for :func:`hsipipe.commands.predict_file.predict_file`.
    """
    model, notes = bind(model, cube, other_wavelengths=options.other_wavelengths)
    bands, height, width = cube.shape
    scale, images = model.scale, tile_images(model, options.count)[1]
    plan = Plan(height, width, options.tile, options.overlap, shard_shape(bands, height, width, scale=scale))
    check_sinks(targets, (bands, height * scale, width * scale))
    side_by_side = strip_width(
        plan, bands, scale, memory=options.memory, images=images, results=len(targets), guarded=options.is_guarded
    )

    def wrap(values: Any) -> xr.DataArray:
        return refine(cube, values, scale=scale)

    described = {**made_of, "source": source_digest(source), **_described(options, targets)}
    with open_sink(targets, plan, wrap=wrap, bands=bands, scale=scale, made_of=described) as sink:
        sink.check_space()
        scene = survey(cube, source, full_scale=options.full_scale, example=COMMAND.given("full_scale", 10000))
        if scene.holes is not None:
            notes = (*notes, no_data_note(float(scene.holes.mask.mean())))
        if done := len(plan.shards) - len(sink.missing):
            notes = (*notes, f"{done} of {len(plan.shards)} windows are done; the others follow.")
        say("note", notes)
        say("warning", strip_warnings(domain_of(model), bands, scene.strips))
        sink.create()
        statistics = options.statistics
        work = WindowPrediction(model, scene, sink, plan, statistics, options.count, options.is_guarded)
        work.run(side_by_side=side_by_side)
        say("warning", work.doubts())
        sink.publish()


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


def say(kind: str, texts: Sequence[str]) -> None:
    """Print notes or warnings to stderr."""
    for text in texts:
        print(f"{kind}: {text}", file=sys.stderr)


def _described(options: WindowOptions, targets: Sequence[Path]) -> dict[str, Any]:
    return {
        "results": [path.name for path in targets],
        "--tile": options.tile,
        "--overlap": options.overlap,
        "--full-scale": options.full_scale,
        "--samples": options.count,
        "--guard": "warn" if options.is_guarded else "off",
    }
