"""Write and verify ``MANIFEST.json``: size and sha256 of every file of a published folder."""

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.json_text import parse_json

MANIFEST = "MANIFEST.json"
_JUNK = (".DS_Store", "._")
"""Beginnings of the files that macOS adds to folders; nothing reads them."""


class _Entry(NamedTuple):
    size: int
    sha256: str


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
    """Check that the folder holds the files of its manifest, unchanged, and no other file.

    Args:
        folder: Published folder.
        content: Also compare sha256; otherwise compare presence and size only, which reads no data.

    Raises:
        MissingInputError: The folder has no manifest.
        IntegrityError: A file is missing, differs or is not listed, or no file is listed; the message names it.
    """
    listed = _read(folder)
    if not listed:
        raise IntegrityError(f"{folder / MANIFEST} lists no file, expected every file of the folder. {_remedy(folder)}")
    for name, entry in listed.items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing, but {MANIFEST} lists it. {_remedy(folder)}")
        size = path.stat().st_size
        if size != entry.size:
            raise IntegrityError(f"{path} has {size} bytes, expected {entry.size}. {_remedy(folder)}")
        if content and (got := sha256(path)) != entry.sha256:
            raise IntegrityError(f"{path} has sha256 {got}, expected {entry.sha256}. {_remedy(folder)}")
    # A file without a digest could be anything, and be read all the same.
    if others := [name for name in _files(folder) if name not in listed and not _is_junk(name)]:
        raise IntegrityError(f"{folder / min(others)} is not listed in {MANIFEST}. Remove it, or: {_remedy(folder)}")


def digest(folder: Path) -> str:
    """Return the sha256 of the manifest, which identifies the contents of the whole folder.

    Raises:
        MissingInputError: The folder was not published.
        IntegrityError: The manifest is damaged.
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


def _is_junk(name: str) -> bool:
    return PurePosixPath(name).name.startswith(_JUNK)


def _read(folder: Path) -> dict[str, _Entry]:
    """Read the entries of a manifest by the path of their file in the folder."""
    try:
        tree = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
        return {name: _entry(name, entry) for name, entry in tree["files"].items()}
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingInputError(
            f"No {MANIFEST} in {folder}: it was not published. Run the stage that creates it (dvc repro)."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{folder / MANIFEST} is damaged ({error}). {_remedy(folder)}") from error


def _entry(name: str, entry: dict[str, object]) -> _Entry:
    size, sha256 = entry["bytes"], entry["sha256"]
    if not isinstance(size, int) or not isinstance(sha256, str):
        raise TypeError(f"{name} has no size in bytes and sha256")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{name} lies outside of the folder")
    return _Entry(size, sha256)


def _remedy(folder: Path) -> str:
    return f"Remove {folder} and rerun the stage that creates it (dvc repro)."
