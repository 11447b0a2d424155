"""Locate a checkout of the project: a folder with the graph and the parameters of a pipeline."""

import os
from pathlib import Path

from hsipipe.errors import MissingInputError, ParamsError

PARAMS = "params.yaml"
_UNUSABLE = "?{}"
"""Characters of a path that the address of a SQLite database, or DVC's templates, would take for something else."""


def find_root(start: Path | None = None) -> Path:
    """Return the folder of the pipeline: ``DVC_ROOT``, or the nearest parent with a dvc.yaml.

    Raises:
        MissingInputError: No such folder.
        ParamsError: Its path has a character that the stores of the pipeline cannot express.
    """
    if start is None and (given := os.environ.get("DVC_ROOT")):
        return _usable(Path(given).resolve())
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / PARAMS).is_file():
            return _usable(folder)
    raise MissingInputError(f"No dvc.yaml in {here} or above it; run this inside the project's folder.")


def locks(root: Path) -> Path:
    """Return the folder of the lock files."""
    return root / ".hsipipe" / "locks"


def _usable(root: Path) -> Path:
    """Refuse a path that a database address or a text file would change."""
    try:
        str(root).encode()
    except UnicodeEncodeError as error:
        raise ParamsError(f"The path {str(root)!r} is not UTF-8; move the project to another folder.") from error
    if found := [character for character in str(root) if character in _UNUSABLE or not character.isprintable()]:
        raise ParamsError(
            f"The path {str(root)!r} contains {found[0]!r}, which addresses of databases or templates of DVC "
            "take for something else; move the project to a folder without it."
        )
    return root
