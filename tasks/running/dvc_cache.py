"""Check outputs that DVC restored from its cache against their manifest.

DVC trusts every write-protected file of its cache, so damage on the disk would come back as a result.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import yaml

from hsipipe.checkout import locks
from hsipipe.errors import IntegrityError
from hsipipe.json_text import parse_json
from hsipipe.storage.manifest import MANIFEST, verify
from tasks.running.project import DVC_LOCKS

Marks = dict[str, tuple[int, int]]
"""Output -> time of the last write of its manifest and of its stage's lock, in ns; 0: never."""


def marks(root: Path) -> Marks:
    """Take the state that :func:`damaged` compares with; call it before DVC runs."""
    return {out: _marks(root, stage, out) for out, stage in _folders(root).items()}


def damaged(root: Path, before: Marks) -> list[str]:
    """Return outputs restored since `before` without a run of their stage that do not match their manifest.

    Args:
        root: The project.
        before: Result of :func:`marks`.
    """
    found = []
    for out, stage in _folders(root).items():
        manifest, lock = _marks(root, stage, out)
        manifest_before, lock_before = before.get(out, (0, 0))
        if manifest in (0, manifest_before) or lock != lock_before:
            continue
        try:
            verify(root / out)
        except IntegrityError:
            found.append(out)
    return found


def drop(root: Path, out: str, *, cache: Path) -> int:
    """Remove the files of an output whose content does not match their hash from DVC's cache; return their number.

    Args:
        root: The project.
        out: The output, relative to the root.
        cache: DVC's cache, which holds ``files/md5``.
    """
    (md5,) = {entry["md5"] for entry in _outs(root) if entry["path"] == out}
    listing = _file(cache, md5)
    try:
        names = [md5, *(entry["md5"] for entry in parse_json(listing.read_text(encoding="utf-8")))]
    except (OSError, ValueError, KeyError, TypeError):
        names = [md5]
    dropped = 0
    for name in names:
        path = _file(cache, name)
        if path.is_file() and _md5(path) != name.removesuffix(".dir"):
            path.unlink()
            dropped += 1
    return dropped


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _file(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _marks(root: Path, stage: str, out: str) -> tuple[int, int]:
    return _written(root / out / MANIFEST), _written(locks(root) / f"{stage}.lock")


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _folders(root: Path) -> dict[str, str]:
    return {entry["path"]: entry["stage"] for entry in _outs(root) if entry["md5"].endswith(".dir")}


def _outs(root: Path) -> list[dict[str, str]]:
    return [
        {"stage": _label(name), "path": out["path"], "md5": out["md5"]}
        for name, stage in locked_stages(root).items()
        for out in stage.get("outs", [])
        if "md5" in out
    ]


def locked_stages(root: Path) -> dict[str, Any]:
    """Return every stage in DVC's lock files by name; skip a damaged or missing file."""
    stages: dict[str, Any] = {}
    for name in DVC_LOCKS:
        try:
            stages |= (yaml.safe_load((root / name).read_text(encoding="utf-8")) or {}).get("stages", {})
        except (FileNotFoundError, yaml.YAMLError, ValueError, RecursionError, AttributeError):
            continue
    return stages


def _label(stage: str) -> str:
    """Translate DVC's name of a stage to the name of its lock: ``train_seed@edsr-1`` to ``train@edsr@seed-1``."""
    return re.sub(r"^(\w+)_(seed|steps)@(.*)-(\d+)$", r"\1@\3@\2-\4", stage)
