"""``MANIFEST.json``: the size and sha256 of every file of a published folder."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from hsipipe.errors import IntegrityError, MissingInputError

MANIFEST = "MANIFEST.json"


def write_manifest(folder: Path) -> Path:
    """List every file below `folder` with size in bytes and sha256; the same content gives the same bytes."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in sorted(_files(folder))
    }
    path = folder / MANIFEST
    path.write_text(json.dumps({"files": files}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def verify(folder: Path, *, content: bool = True) -> None:
    """Check that every file of the manifest is there and unchanged.

    Args:
        folder: A published folder.
        content: Compare sha256 too; otherwise presence and size alone, which reads no data.

    Raises:
        MissingInputError: There is no manifest.
        IntegrityError: A file is missing or differs; the message names it.
    """
    for name, entry in _read(folder)["files"].items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing though {MANIFEST} lists it. {_mend(folder)}")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise IntegrityError(f"{path} has {size} bytes, expected {entry['bytes']}. {_mend(folder)}")
        if content and (got := sha256(path)) != entry["sha256"]:
            raise IntegrityError(f"{path} has sha256 {got}, expected {entry['sha256']}. {_mend(folder)}")


def digest(folder: Path) -> str:
    """The sha256 of the manifest, which stands for the whole folder.

    Raises:
        MissingInputError: The folder was never published.
    """
    _read(folder)
    return sha256(folder / MANIFEST)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(folder: Path) -> list[str]:
    found = []
    for root, _, names in os.walk(folder):
        found += [(Path(root) / name).relative_to(folder).as_posix() for name in names]
    return [name for name in found if name != MANIFEST]


def _read(folder: Path) -> dict[str, Any]:
    try:
        tree = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(tree["files"], dict):
            raise TypeError("files is no table")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingInputError(
            f"No {MANIFEST} in {folder}: it was not published. Run the stage that makes it (dvc repro)."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{folder / MANIFEST} is damaged ({error}). {_mend(folder)}") from error
    return dict(tree)


def _mend(folder: Path) -> str:
    return f"Remove {folder} and run the stage that makes it again (dvc repro)."
