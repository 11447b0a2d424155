"""A file in, a file out: super-resolve a whole scene."""

import math
from pathlib import Path

import numpy as np

from hsipipe.errors import DataError, ParamsError
from hsipipe.formats import open_cube, save_cube, writer
from hsipipe.formats.georeference import refine
from hsipipe.inference.scene import predict_scene
from hsipipe.models.base import SuperResolver
from hsipipe.models.catalogue import load_model

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
) -> None:
    """Read a cube, super-resolve it tile by tile, write the result with its wavelengths and its position.

    Args:
        source: LR cube.
        target: Where the HR cube goes; it appears whole or not at all.
        model: Folder, or an URI of the registry.
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile.
        full_scale: Value of the input that means 1.0.
        variable: Array to read, if the file holds several.

    Raises:
        ParamsError: `overlap` or `full_scale` does not fit.
        FileFormatError: `target` has a suffix that cannot be written.
        DataError: The values are out of the range that the model was made for.
        HsipipeError: A file or model that is missing or does not fit.
    """
    if overlap * 2 >= tile:
        raise ParamsError(f"--overlap ({overlap}) must be less than half of --tile ({tile}).")
    if not (math.isfinite(full_scale) and full_scale > 0):
        raise ParamsError(f"--full-scale must be a positive number, got {full_scale}.")
    writer(target)  # a name that cannot be written should not cost a prediction
    resolver = _load(model)
    cube = open_cube(source, variable=variable, bands=resolver.bands)
    lr = np.ascontiguousarray(cube.to_numpy() / np.float32(full_scale), dtype=np.float32)
    if np.nanmax(lr, initial=0.0) > PLAUSIBLE:
        raise DataError(
            f"{source} has values up to {np.nanmax(lr):g}, expected 1.0 as the full range; "
            "say which value means 1.0, for example --full-scale 10000."
        )
    sr = predict_scene(resolver, lr, tile=tile, overlap=overlap) * np.float32(full_scale)
    save_cube(refine(cube, sr, scale=resolver.scale), target)


def _load(model: str) -> SuperResolver:
    if model.startswith("models:/"):
        from tasks.project import find_root
        from tasks.tracking import load_registered

        return load_registered(find_root(), model)
    return load_model(Path(model))
