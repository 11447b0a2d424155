"""Super-resolve a whole scene from file to file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hsipipe.commands.early import REGISTRY
from hsipipe.commands.outputs import check_inputs_stay, files_of
from hsipipe.commands.pair_quality import for_this_pair, quality_note
from hsipipe.commands.predict_windows import WindowOptions, packing_notes, predict_in_windows, say
from hsipipe.commands.sample_file import NO_SAMPLES, Samples, check_room, save_samples
from hsipipe.commands.worker_model import WorkerModel, sharp_mode
from hsipipe.errors import ParamsError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.overlap import Overlap
from hsipipe.formats.packing import Packing, pack_cube, packing_for
from hsipipe.formats.products.base import Masks
from hsipipe.formats.provenance import attach_provenance, provenance
from hsipipe.inference.guard import Guard, Judged
from hsipipe.inference.inputs import Inputs, check_full_scale, check_msi_wanted, check_tiles, prepare
from hsipipe.inference.needs import Admission
from hsipipe.inference.pair import MsiFile, psf_of
from hsipipe.inference.run import goes_in_windows
from hsipipe.inference.statistics import guarded_statistics
from hsipipe.inference.values_found import Found, ValuesFound
from hsipipe.methods.catalogue import load_model
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.posterior.method import Posterior
from hsipipe.methods.super_resolver import SampleResolver, SuperResolver
from hsipipe.storage.manifest import digest
from hsipipe.storage.parallel import on_cluster
from hsipipe.storage.urls import Place


def predict_file(
    source: Place,
    target: Path,
    *,
    model: str,
    tile: int,
    overlap: int,
    full_scale: float,
    variable: str | None = None,
    samples: Samples = NO_SAMPLES,
    sharp: bool = False,
    msi: MsiFile | None = None,
    registered: bool = False,
    estimate_sensors: bool = False,
    other_wavelengths: bool = False,
    detector_overlap: Overlap = "keep",
    masks: Masks = "all",
    guard: Guard = "warn",
    memory: int | None = None,
    judged: Judged | None = None,
    found: Found | None = None,
    dtype: str = "float32",
) -> list[Path]:
    """Super-resolve a cube and write the result with its wavelengths and its position.

    Args:
        source: LR cube, or the address of one.
        target: Output file of the HR cube, written atomically.
        model: Folder or registry URI.
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile.
        full_scale: Scale factor: input value that maps to 1.0.
        variable: Array to read, if the file contains several.
        samples: Samples whose statistics, in the units of the result, are written next to it.
        sharp: Predict one sharp image in the place of the most likely values; the model must be a posterior.
        msi: HR-MSI of the same ground, for a fusion model; the quality of the fusion is printed to stderr.
        registered: Measure and remove a field of shifts between the two images.
        estimate_sensors: Estimate PSF and spectral response from the pair instead of using those of the training.
        other_wavelengths: Accept bands of other wavelengths than those of the training.
        detector_overlap: Bands where two detectors of the LR sensor overlap; see :func:`hsipipe.formats.open_cube`.
        masks: Pixels of a sensor product that have no data; see :func:`hsipipe.formats.open_cube`.
        guard: Warn of a doubtful prediction, or replace it by interpolation; see :mod:`hsipipe.inference.guard`.
        memory: Bytes that a prediction in windows may use; None: a quarter of what is free.
        judged: Called with the judgement of the result, unless `guard` is off.
        found: Called with the statistics of the values of the result.
        dtype: Numbers of the result and its quantiles; see :func:`hsipipe.formats.packing.packing_for`.

    A model whose tiles depend on their own pixels, and on statistics of the scene that one pass over it gives, predicts
    in windows and keeps few of them in memory. After a kill, the same call writes the missing windows. Methods of a
    whole scene, aligned pairs, estimated sensors, `guard` fallback and kept samples keep the whole scene in memory. A
    cube of another sensor needs known wavelengths and a model trained with spectral windows.

    Returns:
        The written files, the result first.

    Raises:
        ParamsError: Invalid `overlap`, `samples`, `quantiles` or scale factor, `sharp` for a model that cannot, an
            HR-MSI is missing or not supported, or a result would replace an input.
        FileFormatError: `target` has a suffix that cannot be written, or its format cannot hold the result.
        DataError: Values outside of the model's range, an HR-MSI of another ground, or too little disk or memory for
            the result; nothing is predicted.
        HsipipeError: A missing or unsuitable file or model.
    """
    check_tiles(tile, overlap)
    check_full_scale(full_scale)
    if on_cluster():  # whose workers run in other folders
        source = source.absolute() if isinstance(source, Path) else source
        msi = msi and msi._replace(path=msi.path.absolute())
    _check_options(samples, msi, sharp=sharp, registered=registered, estimate_sensors=estimate_sensors)
    targets = _targets(source, target, samples, msi)
    model = pinned(model)
    resolver = sharp_mode(_load(model)) if sharp else _load(model)
    check_msi_wanted(resolver, msi)
    cube = open_cube(source, variable=variable, bands=resolver.bands, overlap=detector_overlap, masks=masks)
    packing = packing_for(cube, target, dtype)
    sha256 = digest_of(model)
    used: dict[str, Any] = {"tile": tile, "overlap": overlap, "full_scale": full_scale, "variable": variable}
    used |= {"samples": samples.count, "quantiles": list(samples.quantiles), "sharp": sharp, "register": registered}
    used |= {"estimate_sensors": estimate_sensors, "other_wavelengths": other_wavelengths}
    used |= {"detector_overlap": detector_overlap, "masks": masks, "guard": guard, "dtype": dtype}
    whence = _provenance(source, cube, {"name": resolver.name, "place": model, "sha256": sha256}, msi, **used)
    if goes_in_windows(resolver) and not (registered or estimate_sensors or samples.keep or guard == "fallback"):
        _note_no_spread(resolver, samples)
        statistics, count, is_guarded = samples.statistics(), samples.count, guard != "off"
        options = WindowOptions(
            tile, overlap, full_scale, statistics, count, is_guarded, other_wavelengths, memory, msi, packing
        )
        options = replace(options, judged=judged, found=found)
        made_of = _made_of(sha256, msi, sharp=sharp, variable=variable, overlap=detector_overlap, masks=masks)
        load = WorkerModel.of(model, sha256=sha256, is_sharp=sharp)
        predict_in_windows(resolver, cube, source, targets, options, made_of=made_of, provenance=whence, load=load)
        return targets
    given = prepare(
        resolver,
        cube,
        name=source,
        full_scale=full_scale,
        msi=msi,
        registered=registered,
        other_wavelengths=other_wavelengths,
        admit=Admission(targets[: len(samples.statistics())], model=resolver, memory=memory),
    )
    given = _noted(replace(given, cube=attach_provenance(cube, whence)), estimate_sensors=estimate_sensors)
    _write(
        given, samples, targets, guard=guard, tile=tile, overlap=overlap, judged=judged, found=found, packing=packing
    )
    return targets


def _check_options(
    samples: Samples, msi: MsiFile | None, *, sharp: bool, registered: bool, estimate_sensors: bool
) -> None:
    if registered and msi is None:
        raise ParamsError("--register aligns a pair of images; give the HR-MSI with --msi FILE.")
    if estimate_sensors and msi is None:
        raise ParamsError("--estimate-sensors looks at a pair of images; give the HR-MSI with --msi FILE.")
    if sharp and samples.count is not None:
        raise ParamsError("--sharp gives one image and no uncertainty; leave out --samples, or --sharp.")


def _targets(source: Place, target: Path, samples: Samples, msi: MsiFile | None) -> list[Path]:
    """Return the files of the results, which can be written and replace no input."""
    targets = samples.paths(target)
    outputs = [file for path in targets for file in files_of(path)]
    check_inputs_stay(outputs, [source] if msi is None else [source, msi.path])
    return targets


def _made_of(
    sha256: str, msi: MsiFile | None, *, sharp: bool, variable: str | None, overlap: Overlap, masks: Masks
) -> dict[str, Any]:
    """Return what else the values of a prediction in windows depend on."""
    return {
        "model": sha256,
        "--sharp": sharp,
        "--variable": variable,
        "--detector-overlap": overlap,
        "--masks": masks,
        "--msi-variable": None if msi is None else msi.variable,
    }


def _noted(given: Inputs, *, estimate_sensors: bool) -> Inputs:
    """Print notes and warnings of the inputs; return them with the sensors of the pair, if those are estimated."""
    say("note", given.notes)
    if estimate_sensors and given.msi is not None:
        given = replace(given, model=_for_this_pair(given.model, given.lr, given.msi))
    say("warning", given.warnings())
    return given


def _provenance(
    source: Place, cube: xr.DataArray, model: Mapping[str, str], msi: MsiFile | None, **options: Any
) -> dict[str, str]:
    inputs: dict[str, Place] = {"input": source}
    if msi is not None:
        inputs["msi"] = msi.path
        options |= {"msi_full_scale": msi.full_scale, "msi_variable": msi.variable}
    return provenance("predict", inputs=inputs, model=model, parameters=options, earlier=cube.attrs)


def _write(
    given: Inputs,
    samples: Samples,
    targets: Sequence[Path],
    *,
    guard: Guard,
    tile: int,
    overlap: int,
    judged: Judged | None,
    found: Found | None,
    packing: Packing | None,
) -> None:
    """Predict and write all files."""
    if samples.keep:
        check_room(given, samples, targets[-1])
    model = given.model
    _note_no_spread(model, samples)
    images, doubts = guarded_statistics(
        model,
        given.lr,
        samples.statistics(),
        count=samples.count,
        guard=guard,
        tile=tile,
        overlap=overlap,
        msi=given.msi,
        judged=judged,
    )
    say("warning", doubts)
    if samples.keep:
        save_samples(given, samples, targets[-1], tile=tile, overlap=overlap)
    # The result last, so that nothing is missing next to it.
    clipped = 0
    for statistic, image, path in reversed(list(zip(samples.statistics(), images, targets, strict=False))):
        cube = given.wrap(image)
        if packing is not None and statistic.kind != "std":
            cube, count = pack_cube(cube, packing)
            clipped += count
        save_cube(cube, path)
    if found is not None:  # of the last one, the result
        found(ValuesFound.of(cube.to_numpy() if packing is None else packing.unpack(cube.to_numpy())))
    say("note", packing_notes(packing, clipped))
    if given.msi is not None:
        scale, psf = given.model.scale, psf_of(given.model)
        say("note", [quality_note(images[0], given.lr, given.msi, scale=scale, psf=psf)])


def _note_no_spread(model: SuperResolver, samples: Samples) -> None:
    if samples.count is not None and not (isinstance(model, SampleResolver) and model.varies):
        text = (
            f"{model.name} gives the same prediction every time, so {samples.count} samples have no spread and the "
            "standard deviation is zero everywhere; a posterior such as dmgasr varies."
        )
        say("note", [text])


def _for_this_pair(model: SuperResolver, lr: np.ndarray, msi: np.ndarray) -> SuperResolver:
    if isinstance(model, Posterior) and isinstance(model.mean, FusionModel):
        return model.with_mean(for_this_pair(model.mean, lr, msi))
    return for_this_pair(model, lr, msi) if isinstance(model, FusionModel) else model


def pinned(model: str) -> str:
    """Resolve an alias of the registry to a version, so that all uses mean the same model."""
    if not model.startswith(REGISTRY):
        return model
    from hsipipe.model_registry.load import resolve_registered
    from hsipipe.model_registry.store import store_root

    return resolve_registered(store_root(), model).uri


def digest_of(model: str) -> str:
    """Return the sha256 of a model, a folder or a URI of the registry."""
    if not model.startswith(REGISTRY):
        return digest(Path(model))
    from hsipipe.model_registry.load import resolve_registered
    from hsipipe.model_registry.store import store_root

    return resolve_registered(store_root(), model).sha256


def _load(model: str) -> SuperResolver:
    if model.startswith(REGISTRY):
        from hsipipe.model_registry.load import load_registered
        from hsipipe.model_registry.store import store_root

        return load_registered(store_root(), model)
    return load_model(Path(model))
