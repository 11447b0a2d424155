"""A file in, a file out: super-resolve a whole scene."""

import math
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from hsipipe.errors import DataError, ParamsError
from hsipipe.formats import open_cube, save_cube, writer
from hsipipe.formats.georeference import refine
from hsipipe.inference.scene import predict_scene, predict_scene_with_spread
from hsipipe.models.base import SensorResolver, SpreadResolver, SuperResolver
from hsipipe.models.catalogue import load_model
from hsipipe.models.windows import same_centres

PLAUSIBLE = 4.0
"""Largest input value that is still taken for a reflectance; a bright glint is above 1."""


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

    A cube of another sensor is served where its wavelengths are known and the model was trained with spectral windows.

    Returns:
        What was written, the result first.

    Raises:
        ParamsError: `overlap`, `full_scale` or `samples` does not fit.
        FileFormatError: `target` has a suffix that cannot be written.
        DataError: The values are out of the range that the model was made for.
        HsipipeError: A file or model that is missing or does not fit.
    """
    if overlap * 2 >= tile:
        raise ParamsError(f"--overlap ({overlap}) must be less than half of --tile ({tile}).")
    if not (math.isfinite(full_scale) and full_scale > 0):
        raise ParamsError(f"--full-scale must be a positive number, got {full_scale}.")
    if samples is not None and samples < 1:
        raise ParamsError(f"--samples must be at least 1, got {samples}.")
    if samples is not None and samples > 1 and spread_path(target).absolute() == source.absolute():
        raise ParamsError(
            f"The standard deviation would replace the input {source}; choose another name than {target}."
        )
    writer(target)  # a name that cannot be written should not cost a prediction
    resolver = _load(model)
    cube = open_cube(source, variable=variable, bands=resolver.bands)
    resolver = _bind(resolver, cube)
    lr = np.ascontiguousarray(cube.to_numpy() / np.float32(full_scale), dtype=np.float32)
    if np.nanmax(lr, initial=0.0) > PLAUSIBLE:
        raise DataError(
            f"{source} has values up to {np.nanmax(lr):g}, expected 1.0 as the full range; "
            "say which value means 1.0, for example --full-scale 10000."
        )
    if samples is None:
        images = [predict_scene(resolver, lr, tile=tile, overlap=overlap)]
    else:
        images = _sample(resolver, lr, samples=samples, tile=tile, overlap=overlap)
    targets = [target, spread_path(target)][: len(images)]
    # The spread first: where the result is, what belongs to it is there, too.
    for image, path in reversed(list(zip(images, targets, strict=True))):
        save_cube(refine(cube, image * np.float32(full_scale), scale=resolver.scale), path)
    return targets


def spread_path(target: Path) -> Path:
    """Where the standard deviation goes: ``high_std.nc`` beside ``high.nc``."""
    return target.with_name(f"{target.stem}_std{target.suffix}")


def _sample(resolver: SuperResolver, lr: np.ndarray, *, samples: int, tile: int, overlap: int) -> list[np.ndarray]:
    """The mean and, of two samples or more, their standard deviation."""
    sampler = resolver.with_samples(samples) if isinstance(resolver, SpreadResolver) else None
    if samples == 1:
        return [predict_scene(sampler or resolver, lr, tile=tile, overlap=overlap)]
    if sampler is not None and sampler.samples > 1:
        return list(predict_scene_with_spread(sampler, lr, tile=tile, overlap=overlap))
    print(
        f"note: {resolver.name} gives the same prediction every time, so {samples} samples have no spread and the "
        "standard deviation is zero everywhere; a diffusion model varies that was saved with more than one step "
        "(sampling.steps) or trained with diffusion.scale_input: false.",
        file=sys.stderr,
    )
    mean = predict_scene(resolver, lr, tile=tile, overlap=overlap)
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
