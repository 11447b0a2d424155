"""Sharpen one scene, and look at a pair: sharpen, pair."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hsipipe.commands.options import DetectorOverlap, Dtype, MaskChoice, Variable, show

if TYPE_CHECKING:
    from hsipipe.formats.overlap import Overlap
    from hsipipe.formats.products.base import Masks


def sharpen(
    source: Annotated[Path, typer.Argument(metavar="SCENE", help="The scene: a file, or a folder that is a cube.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Output: .npy, .nc, .tif or .zarr.")],
    scale: Annotated[
        int | None, typer.Option(help="Ratio of the pixel sizes: 2, 3, 4 or 8; default: 4, or that of the pair.")
    ] = None,
    msi: Annotated[Path | None, typer.Option(help="HR-MSI of the same ground.", metavar="FILE")] = None,
    minutes: Annotated[
        float, typer.Option(min=0.05, help="Wall-clock time to compare and train; the prediction comes on top.")
    ] = 10.0,
    mtf: Annotated[
        float | None,
        typer.Option(help="Modulation transfer of the sensor at the Nyquist frequency; default: 0.3, or by the pair."),
    ] = None,
    full_scale: Annotated[
        float | None, typer.Option(help="Scale factor: input value that maps to 1.0; default: by the file.")
    ] = None,
    variable: Variable = None,
    msi_full_scale: Annotated[float, typer.Option(help="Scale factor of the HR-MSI.", metavar="N")] = 1.0,
    msi_variable: Annotated[str | None, typer.Option(help="Array of the HR-MSI, if its file contains several.")] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Measure a field of shifts between the two images, and remove it.")
    ] = False,
    detector_overlap: DetectorOverlap = "keep",
    masks: MaskChoice = "all",
    dtype: Dtype = "float32",
    start: Annotated[
        str | None,
        typer.Option(
            help="Trained group-residual whose weights the network starts from: a folder, or models:/NAME@ALIAS.",
            metavar="MODEL",
        ),
    ] = None,
) -> None:
    """Sharpen one scene by methods fitted to it alone. Needs no params.yaml, no model and no other data.

    The scene is degraded by the PSF of its sensor and restored from that, by interpolation, by methods without training
    and by a network that trains in the time left. They are fitted, chosen and judged on disjoint parts of the scene.
    The best one predicts the scene at full resolution.

    Next to high.nc, high.png shows the scene and the result side by side, and high.json has the metrics of every
    candidate on the held-out part, the gain by group of bands, and what was used. Pixels without data are NaN in the
    result; bad and constant bands are not in it.

    Exit code 3: no candidate beats bicubic interpolation, and the result is the interpolation.

    [bold]Examples[/bold]

      hsipipe sharpen scene.tif high.tif

      hsipipe sharpen scene.hdr high.nc --scale 2 --minutes 3

      hsipipe sharpen scene.tif high.tif --minutes 1 --start models:/hsipipe-cave-x4@champion

      hsipipe sharpen hyper.tif fused.tif --msi multi.tif --msi-full-scale 10000
    """
    from hsipipe.commands.sharpen_file import SharpenOptions, results, sharpen_file
    from hsipipe.exits import NOTHING_BETTER
    from hsipipe.inference.pair import MsiFile

    if mtf is not None and not 0 < mtf < 1:
        raise typer.BadParameter(f"--mtf must be between 0 and 1, got {mtf}.")
    options = SharpenOptions(
        scale=scale,
        minutes=minutes,
        mtf=mtf,
        full_scale=full_scale,
        variable=variable,
        detector_overlap=cast("Overlap", detector_overlap),
        masks=cast("Masks", masks),
        registered=register,
        dtype=dtype,
        start=start,
    )
    file = None if msi is None else MsiFile(msi, msi_full_scale, msi_variable)
    report = sharpen_file(source, target, options, msi=file)
    show(report.table())
    typer.echo(report.sentence())
    for path in filter(Path.exists, results(target)):
        typer.echo(f"wrote {path}")
    if not report.is_better:
        raise typer.Exit(NOTHING_BETTER)


def pair(
    source: Annotated[Path, typer.Argument(metavar="HSI", help="LR-HSI.")],
    msi: Annotated[Path, typer.Argument(metavar="MSI", help="HR-MSI of the same ground.")],
    full_scale: Annotated[
        float | None, typer.Option(help="Scale factor of the LR-HSI; default: by the file.", metavar="N")
    ] = None,
    variable: Annotated[str | None, typer.Option(help="Array of the LR-HSI, if its file contains several.")] = None,
    msi_full_scale: Annotated[float, typer.Option(help="Scale factor of the HR-MSI.", metavar="N")] = 1.0,
    msi_variable: Annotated[str | None, typer.Option(help="Array of the HR-MSI, if its file contains several.")] = None,
) -> None:
    """Show how well an LR-HSI and an HR-MSI fit: PSF, shifts over the scene, bands that the spectrum explains.

    Shifts are measured in windows, and once more after an alignment, as `hsipipe predict --register` and `hsipipe
    sharpen --register` do it.

    [bold]Example[/bold]

      hsipipe pair hyper.tif multi.tif --msi-full-scale 10000
    """
    from hsipipe.commands.pair_table import pair_table
    from hsipipe.inference.pair import MsiFile

    file = MsiFile(msi, msi_full_scale, msi_variable)
    table, _ = pair_table(source, file, full_scale=full_scale, variable=variable)
    show(table)
