"""A file in, a file out: super-resolve a whole scene."""

import math
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from flows.image_pair import MsiFile, for_this_pair, pair_notes, psf_of, quality_note, read_msi, response_of, scaled
from hsipipe.errors import ParamsError
from hsipipe.formats import open_cube, save_cube, writer
from hsipipe.formats.georeference import refine
from hsipipe.inference.scene import predict_scene, predict_scene_with_spread
from hsipipe.models.base import SensorResolver, SpreadResolver, SuperResolver
from hsipipe.models.catalogue import load_model
from hsipipe.models.fusion import FusionModel
from hsipipe.models.windows import same_centres


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
) -> list[Path]:
    """Read a cube, super-resolve it tile by tile, write the result with its wavelengths and its position.

    Args:
        source: LR cube.
        target: Where the HR cube goes; it appears whole or not at all.
        model: Folder, or an URI of the registry.
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile.
        full_scale: Value of the input that means 1.0.
        variable: Array to read, if the file holds several.
        samples: The result is the mean of so many; from two on their standard deviation, in the units of the result,
            is written beside it (:func:`spread_path`). None: as many as the model was saved with, the mean alone.
        msi: HR-MSI of the same ground, for a model that fuses; what its fusion is worth is then told on stderr.
        estimate_sensors: Take PSF and spectral response from the pair itself, not from the model's training.

    A cube of another sensor is served where its wavelengths are known and the model was trained with spectral windows.

    Returns:
        What was written, the result first.

    Raises:
        ParamsError: `overlap`, `samples` or a full scale does not fit, or an HR-MSI is missing or not wanted.
        FileFormatError: `target` has a suffix that cannot be written.
        DataError: The values are out of the range that the model was made for, or the HR-MSI lies elsewhere.
        HsipipeError: A file or model that is missing or does not fit.
    """
    if overlap * 2 >= tile:
        raise ParamsError(f"--overlap ({overlap}) must be less than half of --tile ({tile}).")
    if estimate_sensors and msi is None:
        raise ParamsError("--estimate-sensors looks at a pair of images; give the HR-MSI with --msi FILE.")
    _check_full_scale("--full-scale", full_scale)
    _check_samples(samples, target, [source] if msi is None else [source, msi.path])
    writer(target)  # a name that cannot be written should not cost a prediction
    resolver = _load(model)
    _check_msi_wanted(resolver, msi)
    cube = open_cube(source, variable=variable, bands=resolver.bands)
    resolver = _bind(resolver, cube)
    lr = scaled(cube, source, full_scale=full_scale, option="--full-scale")
    fine, centres = (None, None) if msi is None else read_msi(msi, cube, lr, model=resolver)
    if fine is not None:
        if estimate_sensors and isinstance(resolver, FusionModel):
            resolver = for_this_pair(resolver, lr, fine)
        _warn(resolver, lr, fine, centres)
    if samples is None:
        images = [predict_scene(resolver, lr, tile=tile, overlap=overlap, msi=fine)]
    else:
        images = _sample(resolver, lr, fine, samples=samples, tile=tile, overlap=overlap)
    targets = [target, spread_path(target)][: len(images)]
    # The spread first: where the result is, what belongs to it is there, too.
    for image, path in reversed(list(zip(images, targets, strict=True))):
        save_cube(refine(cube, image * np.float32(full_scale), scale=resolver.scale), path)
    if fine is not None:
        note = quality_note(images[0], lr, fine, scale=resolver.scale, psf=psf_of(resolver))
        print(f"note: {note}", file=sys.stderr)
    return targets


def spread_path(target: Path) -> Path:
    """Where the standard deviation goes: ``high_std.nc`` beside ``high.nc``."""
    return target.with_name(f"{target.stem}_std{target.suffix}")


def _check_full_scale(option: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ParamsError(f"{option} must be a positive number, got {value}.")


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


def _check_msi_wanted(resolver: SuperResolver, msi: MsiFile | None) -> None:
    if msi is None and resolver.msi_bands != 0:
        bands = "" if resolver.msi_bands is None else f" of {resolver.msi_bands} bands"
        raise ParamsError(
            f"The model {resolver.name} fuses the LR-HSI with an HR-MSI{bands}, but got none; give it with --msi FILE."
        )
    if msi is not None and resolver.msi_bands == 0:
        raise ParamsError(
            f"Got --msi {msi.path}, but the model {resolver.name} super-resolves the LR-HSI alone; leave --msi out, or "
            "take a fusion model."
        )
    if msi is not None:
        _check_full_scale("--msi-full-scale", msi.full_scale)


def _warn(resolver: SuperResolver, lr: np.ndarray, msi: np.ndarray, centres: np.ndarray | None) -> None:
    """Say what casts doubt on a pair, before it is fused."""
    sentences = pair_notes(
        lr,
        msi,
        scale=resolver.scale,
        psf=psf_of(resolver),
        response=response_of(resolver, lr, msi),
        msi_wavelength_nm=centres,
    )
    for sentence in sentences:
        print(f"warning: {sentence}", file=sys.stderr)


def _sample(
    resolver: SuperResolver, lr: np.ndarray, msi: np.ndarray | None, *, samples: int, tile: int, overlap: int
) -> list[np.ndarray]:
    """The mean and, of two samples or more, their standard deviation."""
    sampler = resolver.with_samples(samples) if isinstance(resolver, SpreadResolver) else None
    if samples == 1:
        return [predict_scene(sampler or resolver, lr, tile=tile, overlap=overlap, msi=msi)]
    if sampler is not None and sampler.samples > 1:
        return list(predict_scene_with_spread(sampler, lr, tile=tile, overlap=overlap, msi=msi))
    print(
        f"note: {resolver.name} gives the same prediction every time, so {samples} samples have no spread and the "
        "standard deviation is zero everywhere; a diffusion model varies that was saved with more than one step "
        f"({'sampling.steps' if msi is None else 'fusion.steps'}).",
        file=sys.stderr,
    )
    mean = predict_scene(resolver, lr, tile=tile, overlap=overlap, msi=msi)
    return [mean, np.zeros_like(mean)]


def _bind(resolver: SuperResolver, cube: xr.DataArray) -> SuperResolver:
    """The model for the cube's bands, where it knows bands by their wavelengths and these are others."""
    if not isinstance(resolver, SensorResolver) or "wavelength_nm" not in cube.coords:
        return resolver
    mine, its = resolver.wavelength_nm, cube["wavelength_nm"].to_numpy()
    if mine is None or same_centres(mine, its):
        return resolver
    bound = resolver.for_wavelengths(its.tolist())
    print(
        f"note: the cube has {len(its)} bands from {its[0]:g} to {its[-1]:g} nm, the model was trained on {len(mine)} "
        f"from {mine[0]:g} to {mine[-1]:g} nm; it is applied in its spectral windows, by wavelength.",
        file=sys.stderr,
    )
    return bound


def _load(model: str) -> SuperResolver:
    if model.startswith("models:/"):
        from tasks.project import find_root
        from tasks.tracking import load_registered

        return load_registered(find_root(), model)
    return load_model(Path(model))
