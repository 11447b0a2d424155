"""Predict many scenes: predict-batch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hsipipe.commands.options import (
    DetectorOverlap,
    Dtype,
    FullScale,
    MaskChoice,
    ModelPlace,
    OnDoubt,
    OtherWavelengths,
    Tile,
    TileOverlap,
    Variable,
    WindowMemory,
    check_guard,
)

if TYPE_CHECKING:
    from hsipipe.formats.overlap import Overlap
    from hsipipe.formats.products.base import Masks


def predict_batch(
    scenes: Annotated[
        str, typer.Argument(metavar="FOLDER|LIST", help="Folder of LR cubes, or a JSON of STAC items, or its address.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the products.")],
    model: ModelPlace,
    suffix: Annotated[str, typer.Option(help="Format of the products: .zarr, .tif, .nc, .npy, .bil, ...")] = ".zarr",
    asset: Annotated[
        str | None, typer.Option(help="Asset of each STAC item; default: the only one, or the only one of role data.")
    ] = None,
    tile: Tile = 64,
    overlap: TileOverlap = 8,
    full_scale: FullScale = 1.0,
    variable: Variable = None,
    other_wavelengths: OtherWavelengths = False,
    detector_overlap: DetectorOverlap = "keep",
    masks: MaskChoice = "all",
    guard: OnDoubt = "warn",
    memory: WindowMemory = None,
    dtype: Dtype = "float32",
    quiet: Annotated[
        float, typer.Option(min=0, help="Wait so long after the last change of a scene.", metavar="SECONDS")
    ] = 0.0,
) -> None:
    """Super-resolve the new scenes of a folder or of a list.

    Each scene becomes a product OUT/NAME.zarr and its record OUT/NAME.json: model, source, options, and numbers of the
    quality. A scene whose record is there is skipped, until its file changes; two calls at once share the work, and
    after a kill the same command continues. A scene that fails has a line on stderr, the others follow, and the exit
    code is 1.

    A scene of a folder is named after its file, one of a STAC list after its item. Assets may be GeoTIFF and Zarr on
    web servers and in S3; a list on a server cannot name files of this machine.

    [bold]Examples[/bold]

      hsipipe predict-batch scenes products --model models:/hsipipe-synthetic-x4@champion

      hsipipe predict-batch items.json products --model models/superresolver --suffix .tif --full-scale 10000
    """
    from hsipipe.commands.early import check_model
    from hsipipe.formats.packing import check_dtype

    check_model(model)
    check_dtype(dtype)
    from hsipipe.commands.predict_batch import Batch, BatchOptions, check_outcomes
    from hsipipe.memory import parse_size
    from hsipipe.storage.urls import place_of

    options = BatchOptions(
        full_scale=full_scale,
        tile=tile,
        overlap=overlap,
        variable=variable,
        other_wavelengths=other_wavelengths,
        detector_overlap=cast("Overlap", detector_overlap),
        masks=cast("Masks", masks),
        guard=check_guard(guard),
        memory=None if memory is None else parse_size(memory),
        dtype=dtype,
        quiet_s=quiet,
    )
    batch = Batch(place_of(scenes), out, model=model, suffix=suffix, asset=asset, options=options)
    outcomes = []
    for scene in batch.scenes:
        outcomes.append(batch.predict(scene))
        typer.echo(outcomes[-1].line(), err=outcomes[-1].kind == "failed")
    typer.echo(check_outcomes(outcomes))
