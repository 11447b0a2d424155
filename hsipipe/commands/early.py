"""Find wrong inputs of a prediction before anything heavy is imported: torch alone takes seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsipipe.errors import FileFormatError, MissingInputError
from hsipipe.formats import open_cube, writer
from hsipipe.formats.packing import check_dtype, packing_for
from hsipipe.formats.recognise import recognise
from hsipipe.storage.manifest import MANIFEST
from hsipipe.storage.urls import Place, Url

REGISTRY = "models:/"


def check_files(sources: Sequence[Place], target: Path) -> None:
    """Check that cubes exist in a known format, and that the target can be written where it is.

    Raises:
        MissingInputError: A cube, the server of one, or the folder of the target, does not exist.
        FileFormatError: The format of a cube is unknown, or the suffix of the target cannot be written.
    """
    for source in sources:
        if isinstance(source, Url):
            open_cube(source)
        else:
            recognise(source)
    writer(target)
    if not target.absolute().parent.is_dir():
        raise MissingInputError(f"No folder {target.absolute().parent}; make it, or name another place for the result.")


def check_model(model: str) -> None:
    """Check that a folder holds a model, or that the registry can be asked; nothing is loaded.

    Raises:
        MissingInputError: There is no model in the folder, or no registry.
        MissingExtraError: MLflow is not installed.
    """
    if model.startswith(REGISTRY):
        from hsipipe.model_registry.store import store_root

        store_root()
    elif not (Path(model) / MANIFEST).is_file():
        raise MissingInputError(
            f"{model} holds no model: {MANIFEST} is missing. Give the folder of one, or models:/NAME@ALIAS."
        )


def check_numbers(source: Place, target: Path, dtype: str, **how: Any) -> None:
    """Check that the target can hold the numbers that are chosen; of the cube its header is read.

    Args:
        source: Cube that is predicted.
        target: File of the result.
        dtype: See :func:`hsipipe.formats.packing.packing_for`.
        how: Options of :func:`hsipipe.formats.open_cube`.

    Raises:
        ParamsError: `dtype`, or one of the options, is unknown.
        FileFormatError: The target cannot hold the integers of the cube.
    """
    check_dtype(dtype)
    if dtype == "float32":
        return
    try:
        cube = open_cube(source, **how)
    except FileFormatError:  # the number of bands of the model may tell its axes
        return
    packing_for(cube, target, dtype)
