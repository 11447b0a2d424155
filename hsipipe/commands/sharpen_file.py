"""Sharpen one scene from file to file: read, compare, predict, write the result, its picture and its record."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hsipipe.commands.early import REGISTRY
from hsipipe.commands.outputs import check_inputs_stay, files_of
from hsipipe.commands.predict_windows import WindowOptions, packing_notes, predict_in_windows, say
from hsipipe.commands.sharpen_parts import OURS, discard_ours, nothing_of_ours_left
from hsipipe.commands.start_model import read_start
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError, HsipipeError, ParamsError, one_line
from hsipipe.evaluation.fusion_metrics import without_truth
from hsipipe.formats import check_sinks, open_cube, save_cube
from hsipipe.formats.georeference import transform_of
from hsipipe.formats.overlap import Overlap
from hsipipe.formats.packing import Packing, pack_cube, packing_for
from hsipipe.formats.products.base import Masks
from hsipipe.formats.provenance import attach_provenance, file_digests, package_version, provenance
from hsipipe.inference.inputs import check_full_scale, prepare
from hsipipe.inference.needs import Admission
from hsipipe.inference.pair import MsiFile
from hsipipe.inference.run import goes_in_windows
from hsipipe.inference.scene import predict_scene
from hsipipe.inference.statistics import Statistic
from hsipipe.methods.base import Method
from hsipipe.sharpen.compare import Admit, Clock, compare
from hsipipe.sharpen.pair import psf_of_pair, ratio_of, read_pair
from hsipipe.sharpen.reduced import OVERLAP, TILE, reduce_scene
from hsipipe.sharpen.regions import check_size, plan_regions
from hsipipe.sharpen.report import Report
from hsipipe.sharpen.scene import Scene, read_scene
from hsipipe.sharpen.scores import unscored_bands
from hsipipe.sharpen.start import Start
from hsipipe.storage.publish import write_text
from hsipipe.viewer.quicklook import side_by_side

SCALES = (2, 3, 4, 8)
_SCALE = 4


@dataclass(frozen=True)
class SharpenOptions:
    """Options of a sharpening.

    Attributes:
        scale: Ratio of the pixel sizes s; None: that of the pair or of `start`, else 4.
        minutes: Wall-clock time of comparison and training; the prediction of the scene comes on top.
        mtf: Modulation transfer of the sensor at the Nyquist frequency; None: 0.3, or estimated from the pair.
        full_scale: Value that maps to 1.0; None: as the file says, or a likely one.
        variable: Array to read, if the file contains several.
        detector_overlap: Bands where two detectors overlap.
        masks: Pixels of a sensor product without data.
        registered: Measure and remove a field of shifts between the two images of a pair.
        dtype: Numbers of the result; see :func:`hsipipe.formats.packing.packing_for`.
        start: Model whose weights the network of a single image starts from, a folder or ``models:/NAME@ALIAS``; None:
            random weights.
    """

    scale: int | None = None
    minutes: float = 10.0
    mtf: float | None = None
    full_scale: float | None = None
    variable: str | None = None
    detector_overlap: Overlap = "keep"
    masks: Masks = "all"
    registered: bool = False
    dtype: str = "float32"
    start: str | None = None


_MTF = 0.3
"""Usual modulation transfer of a hyperspectral sensor at the Nyquist frequency."""


def sharpen_file(source: Path, target: Path, options: SharpenOptions, *, msi: MsiFile | None = None) -> Report:
    """Sharpen a scene and write the result, ``OUT.png`` and ``OUT.json``.

    Args:
        source: Scene.
        target: Output file.
        options: Options.
        msi: HR-MSI of the same ground.

    Raises:
        ParamsError: An option is out of range, or a result would replace an input.
        ModelInputError: The network cannot start from the model.
        DataError: The scene is too small, or its values do not fit.
        HsipipeError: A file cannot be read or written.
    """
    clock = Clock(60 * options.minutes)
    _check(options, source, target, msi)
    start = None if options.start is None else read_start(options.start)
    usual = _SCALE if start is None else start.model.scale
    cube = open_cube(source, variable=options.variable, overlap=options.detector_overlap, masks=options.masks)
    scale = options.scale or (usual if msi is None else ratio_of(cube, msi))
    packing = packing_for(cube, target, options.dtype)
    bands, height, width = cube.shape
    check_size(height, width, scale=scale)
    check_sinks([target], (bands, height * scale, width * scale))
    discard_ours(target)
    admit = _admission(cube, target, msi, scale=scale)
    scene = read_scene(cube, source, scale=scale, full_scale=options.full_scale)
    if start is not None:
        start.check(bands=len(scene.values), scale=scale)
    report = _compared(scene, options, scale=scale, msi=msi, clock=clock, admit=admit, start=start)
    say("note", [f"{report.comparison.chosen.name} predicts the scene at full resolution."])
    with nothing_of_ours_left(target):
        quality = _write_result(report, source, target, options, msi, packing)
    about = _about(cube, source, msi, scale=scale) | {"seconds": round(clock.passed(), 1)}
    tree = {**report.tree(), **({"without_truth": quality} if quality else {}), **about}
    write_text(target.with_suffix(".json"), json.dumps(tree, indent=1, allow_nan=False) + "\n")
    _draw(scene, target, scale=scale)
    return report


def results(target: Path) -> list[Path]:
    """Return the files that are written: the result with the files beside it, its picture and its record."""
    return [*files_of(target), target.with_suffix(".png"), target.with_suffix(".json")]


def _check(options: SharpenOptions, source: Path, target: Path, msi: MsiFile | None) -> None:
    # The clock counts seconds.
    if not (math.isfinite(60 * options.minutes) and options.minutes > 0):
        raise ParamsError(f"--minutes must be a positive number, got {options.minutes}.")
    if options.scale is not None and options.scale not in SCALES and msi is None:
        raise ParamsError(f"--scale must be one of {', '.join(map(str, SCALES))}, got {options.scale}.")
    if options.scale is not None and options.scale < 2:
        raise ParamsError(f"--scale must be at least 2, got {options.scale}; leave it out for the ratio of the pair.")
    if options.registered and msi is None:
        raise ParamsError("--register aligns a pair of images; give the HR-MSI with --msi FILE.")
    if options.full_scale is not None:
        check_full_scale(options.full_scale)
    if options.start is not None and msi is not None:
        raise ParamsError(
            "--start is for a single image, and a pair trains another network; leave out --start or --msi."
        )
    folder = [] if options.start is None or options.start.startswith(REGISTRY) else [Path(options.start)]
    check_inputs_stay(results(target), [source, *folder, *([] if msi is None else [msi.path])])


def _admission(cube: xr.DataArray, target: Path, msi: MsiFile | None, *, scale: int) -> Admit:
    """Return what refuses the methods that hold the whole scene in memory, if it does not fit.

    Raises:
        DataError: The images of a pair do not fit, which all methods of a pair hold.
    """
    check, refused = Admission([target]), None
    try:
        check(cube, scale)
        if msi is not None:
            check(open_cube(msi.path, variable=msi.variable), 1)
    except DataError as error:
        if msi is not None:
            raise
        refused = error

    def admit(_name: str, model: Method | None) -> None:
        # The network of a single image goes in windows.
        if refused is not None and model is not None and not _in_windows(model):
            raise refused

    return admit


def _compared(
    scene: Scene,
    options: SharpenOptions,
    *,
    scale: int,
    msi: MsiFile | None,
    clock: Clock,
    admit: Admit,
    start: Start | None,
) -> Report:
    """Compare the candidates at reduced resolution."""
    psf = Psf("gaussian", mtf=options.mtf or _MTF)
    fine = None
    if msi is not None:
        values, valid, warnings = read_pair(msi, scene, scale=scale, psf=psf, registered=options.registered)
        say("warning", warnings)
        if options.mtf is None:
            psf, note = psf_of_pair(scene.values, values, scale=scale, fallback=psf)
            say("note", [note])
        fine = (values, valid)
    if scene.dropped:
        say("note", [f"{len(scene.dropped)} bands are bad, constant or without data, and are not in the result."])
    reduced = reduce_scene(scene.values, scene.valid, scale=scale, psf=psf, msi=fine)
    regions = plan_regions(reduced.interpolation_error(), reduced.valid, scale=scale)
    for name, box in (("choosing", regions.choose), ("judging", regions.judge)):
        if count := len(unscored_bands(reduced, box)):
            some = f"{len(reduced.hr) - count} of {len(reduced.hr)} bands"
            say("note", [f"the scores for {name} are those of {some}; the others are constant or zero there."])
    comparison = compare(
        reduced,
        regions,
        clock=clock,
        wavelength_nm=scene.wavelength_nm,
        tell=lambda line: print(line, file=sys.stderr),
        admit=admit,
        start=None if start is None else start.model,
    )
    return Report(scene, reduced, regions, comparison, start)


def _write_result(
    report: Report,
    source: Path,
    target: Path,
    options: SharpenOptions,
    msi: MsiFile | None,
    packing: Packing | None,
) -> dict[str, float | None]:
    """Predict the scene and write it; return the quality of a fusion without the truth."""
    model: Method = report.comparison.chosen.model
    scene, whence = report.scene, _provenance(report, source, options, msi)
    if _in_windows(model):
        windows = WindowOptions(
            TILE, OVERLAP, scene.full_scale, [Statistic("mean")], None, False, False, None, None, packing
        )
        made_of = OURS | {"model": model.name}
        predict_in_windows(model, scene.cube, source, [target], windows, made_of=made_of, provenance=whence)
        return {}
    given = prepare(
        model,
        scene.cube,
        name=source,
        full_scale=scene.full_scale,
        msi=msi if model.msi_bands != 0 else None,
        registered=options.registered,
        admit=Admission([target]),
    )
    say("note", given.notes)
    sr = predict_scene(model, given.lr, tile=TILE, overlap=OVERLAP, msi=given.msi)
    result, clipped = attach_provenance(given.wrap(sr), whence), 0
    if packing is not None:
        result, clipped = pack_cube(result, packing)
    save_cube(result, target)
    say("note", packing_notes(packing, clipped))
    if given.msi is None:
        return {}
    values = without_truth(sr, given.lr, given.msi, scale=model.scale, psf=report.reduced.psf)
    return {key: float(f"{value:.5g}") if np.isfinite(value) else None for key, value in values.items()}


def _provenance(report: Report, source: Path, options: SharpenOptions, msi: MsiFile | None) -> dict[str, str]:
    """Return the provenance of the result; its model is fitted to the scene and saved nowhere."""
    chosen = report.comparison.chosen
    settings = {
        "scale": chosen.model.scale,
        "full_scale": report.scene.full_scale,
        "minutes": options.minutes,
        "mtf": options.mtf,
        "variable": options.variable,
        "msi_full_scale": None if msi is None else msi.full_scale,
        "msi_variable": None if msi is None else msi.variable,
        "register": options.registered,
        "detector_overlap": options.detector_overlap,
        "masks": options.masks,
        "dtype": options.dtype,
        **({} if report.start is None else {"start": report.start.about()}),
    }
    return provenance(
        "sharpen",
        inputs={"input": source} | ({} if msi is None else {"msi": msi.path}),
        model={"name": chosen.name, "place": "fitted to the input"},
        parameters=settings,
        earlier=report.scene.cube.attrs,
    )


def _in_windows(model: Method) -> bool:
    return goes_in_windows(model) and model.msi_bands == 0


def _draw(scene: Scene, target: Path, *, scale: int) -> None:
    """Write the picture; one that cannot be drawn is a warning, since the result is complete without it."""
    picture = target.with_suffix(".png")
    try:
        side_by_side(scene.cube, open_cube(target), picture, scale=scale)
    except (HsipipeError, OSError) as error:
        picture.unlink(missing_ok=True)  # of an earlier result
        say("warning", [f"{picture} is not written: {one_line(error)}"])


def _about(cube: xr.DataArray, source: Path, msi: MsiFile | None, *, scale: int) -> dict[str, Any]:
    """Return facts about the files: pixel size, version, digests."""
    inputs = {"scene": source} | ({} if msi is None else {"msi": msi.path})
    return {
        "pixel_size": _pixel_size(cube, scale),
        "version": package_version(),
        "source_sha256": {role: _digests(path) for role, path in inputs.items()},
    }


def _digests(path: Path) -> str | dict[str, str]:
    found = file_digests(path)
    return found if len(found) > 1 else next(iter(found.values()))


def _pixel_size(cube: xr.DataArray, scale: int) -> dict[str, float] | None:
    """Return the pixel size before and after in the units of the CRS, or in metres if the file states it so."""
    transform, gsd = transform_of(cube), cube.attrs.get("gsd_m")
    # The length of a step along a row, which a rotated grid has in both axes.
    size = math.hypot(transform.a, transform.d) if transform is not None else gsd
    return None if not isinstance(size, int | float) else {"source": float(size), "result": float(size) / scale}
