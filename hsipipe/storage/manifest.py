"""Write and verify ``MANIFEST.json``: size and sha256 of every file of a published folder."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from hsipipe.errors import IntegrityError, MissingInputError

MANIFEST = "MANIFEST.json"


def write_manifest(folder: Path) -> Path:
    """List every file below `folder` with size in bytes and sha256. Equal contents give byte-identical manifests."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in sorted(_files(folder))
    }
    path = folder / MANIFEST
    path.write_text(json.dumps({"files": files}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def verify(folder: Path, *, content: bool = True) -> None:
    """Check that every file of the manifest exists and is unchanged.

    Args:
        folder: Published folder.
        content: Also compare sha256; otherwise compare presence and size only, which reads no data.

    Raises:
        MissingInputError: The folder has no manifest.
        IntegrityError: A file is missing or differs; the message names it.
    """
    for name, entry in _read(folder)["files"].items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing, but {MANIFEST} lists it. {_remedy(folder)}")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise IntegrityError(f"{path} has {size} bytes, expected {entry['bytes']}. {_remedy(folder)}")
        if content and (got := sha256(path)) != entry["sha256"]:
            raise IntegrityError(f"{path} has sha256 {got}, expected {entry['sha256']}. {_remedy(folder)}")


def digest(folder: Path) -> str:
    """Return the sha256 of the manifest, which identifies the contents of the whole folder.

    Raises:
        MissingInputError: The folder was not published.
    """
    _read(folder)
    return sha256(folder / MANIFEST)


def sha256(path: Path) -> str:
    """Compute the sha256 of a file, in hexadecimal."""
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
            raise TypeError("files is not a table")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingInputError(
            f"No {MANIFEST} in {folder}: it was not published. Run the stage that creates it (dvc repro)."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{folder / MANIFEST} is damaged ({error}). {_remedy(folder)}") from error
    return dict(tree)


def _remedy(folder: Path) -> str:
    return f"Remove {folder} and rerun the stage that creates it (dvc repro)."
