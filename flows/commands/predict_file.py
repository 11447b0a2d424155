"""Super-resolve a whole scene from file to file."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from flows.commands.pair_quality import for_this_pair, quality_note
from hsipipe.errors import ParamsError
from hsipipe.formats import open_cube, save_cube, writer
from hsipipe.inference.guard import Guard, guarded
from hsipipe.inference.inputs import Inputs, check_full_scale, check_msi_wanted, check_tiles, prepare
from hsipipe.inference.needs import Admission
from hsipipe.inference.pair import MsiFile, psf_of
from hsipipe.inference.scene import predict_scene, predict_scene_with_spread
from hsipipe.methods.catalogue import load_model
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.super_resolver import SpreadResolver, SuperResolver


def predict_file(
    source: Path,
    target: Path,
    *,
    model: str,
    tile: int,
    overlap: int,
    full_scale: float,
    variable: str | None = None,
    samples: int | None = None,
    msi: MsiFile | None = None,
    estimate_sensors: bool = False,
    other_wavelengths: bool = False,
    guard: Guard = "warn",
) -> list[Path]:
    """Super-resolve a cube tile by tile and write the result with its wavelengths and its position.

    Args:
        source: LR cube.
        target: Output file of the HR cube, written atomically.
        model: Folder or registry URI.
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile.
        full_scale: Scale factor: input value that maps to 1.0.
        variable: Array to read, if the file contains several.
        samples: Number of samples, whose mean is the result; for two or more, their standard deviation in the units of
            the result is written to :func:`spread_path`. None: the number saved with the model, and the mean alone.
        msi: HR-MSI of the same ground, for a fusion model; the quality of the fusion is printed to stderr.
        estimate_sensors: Estimate PSF and spectral response from the pair instead of using those of the training.
        other_wavelengths: Accept bands of other wavelengths than those of the training.
        guard: Warn of a doubtful prediction, or replace it by interpolation; see :mod:`hsipipe.inference.guard`.

    A cube of another sensor needs known wavelengths and a model trained with spectral windows.

    Returns:
        The written files, the result first.

    Raises:
        ParamsError: Invalid `overlap`, `samples` or scale factor, or an HR-MSI is missing or not supported.
        FileFormatError: `target` has a suffix that cannot be written, or its format cannot hold the result.
        DataError: Values outside of the model's range, an HR-MSI of another ground, or too little disk or memory for
            the result; nothing is predicted.
        HsipipeError: A missing or unsuitable file or model.
    """
    check_tiles(tile, overlap)
    if estimate_sensors and msi is None:
        raise ParamsError("--estimate-sensors looks at a pair of images; give the HR-MSI with --msi FILE.")
    check_full_scale(full_scale)
    _check_samples(samples, target, [source] if msi is None else [source, msi.path])
    writer(target)  # refuses an unknown suffix before the model is loaded
    resolver = _load(model)
    check_msi_wanted(resolver, msi)
    targets = [target, spread_path(target)] if samples is not None and samples > 1 else [target]
    cube = open_cube(source, variable=variable, bands=resolver.bands)
    given = prepare(
        resolver,
        cube,
        name=source,
        full_scale=full_scale,
        msi=msi,
        other_wavelengths=other_wavelengths,
        admit=Admission(targets),
    )
    for note in given.notes:
        print(f"note: {note}", file=sys.stderr)
    if estimate_sensors and given.msi is not None and isinstance(given.model, FusionModel):
        given = replace(given, model=for_this_pair(given.model, given.lr, given.msi))
    for warning in given.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    images = _predict(given, samples=samples, tile=tile, overlap=overlap)
    images[0], doubts = guarded(
        given.model, given.lr, images[0], guard=guard, msi=given.msi, tile=tile, overlap=overlap
    )
    for doubt in doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    # The standard deviation first, so that it is never missing next to a result.
    for image, path in reversed(list(zip(images, targets, strict=True))):
        save_cube(given.wrap(image), path)
    if given.msi is not None:
        scale, psf = given.model.scale, psf_of(given.model)
        note = quality_note(images[0], given.lr, given.msi, scale=scale, psf=psf)
        print(f"note: {note}", file=sys.stderr)
    return targets


def spread_path(target: Path) -> Path:
    """Return the file of the standard deviation: ``high_std.nc`` for ``high.nc``."""
    return target.with_name(f"{target.stem}_std{target.suffix}")


def _check_samples(samples: int | None, target: Path, inputs: list[Path]) -> None:
    if samples is None:
        return
    if samples < 1:
        raise ParamsError(f"--samples must be at least 1, got {samples}.")
    for path in inputs:
        if samples > 1 and spread_path(target).absolute() == path.absolute():
            raise ParamsError(
                f"The standard deviation would replace the input {path}; choose another name than {target}."
            )


def _predict(given: Inputs, *, samples: int | None, tile: int, overlap: int) -> list[np.ndarray]:
    """Return the prediction, or the mean of samples and, for two or more, their standard deviation."""
    model, lr, msi = given.model, given.lr, given.msi
    sampler = model.with_samples(samples) if samples is not None and isinstance(model, SpreadResolver) else None
    if samples is None or samples == 1:
        return [predict_scene(sampler or model, lr, tile=tile, overlap=overlap, msi=msi)]
    if sampler is not None and sampler.samples > 1:
        return list(predict_scene_with_spread(sampler, lr, tile=tile, overlap=overlap, msi=msi))
    print(
        f"note: {model.name} gives the same prediction every time, so {samples} samples have no spread and the "
        "standard deviation is zero everywhere; only a diffusion with more than one step (sampling.steps) varies.",
        file=sys.stderr,
    )
    mean = predict_scene(model, lr, tile=tile, overlap=overlap, msi=msi)
    return [mean, np.zeros_like(mean)]


def _load(model: str) -> SuperResolver:
    if model.startswith("models:/"):
        from tasks.running.project import find_root
        from tasks.tracking import load_registered

        return load_registered(find_root(), model)
    return load_model(Path(model))
