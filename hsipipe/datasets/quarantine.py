"""Move refused scenes into a folder of the inbox, each with the reason."""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from hsipipe import formats
from hsipipe.storage.publish import write_text

QUARANTINE = "quarantine"
"""Subfolder of the inbox for refused scenes, one folder per scene."""
REASON = "reason.json"
"""File with the reason, in the folder of a refused scene."""
_LONGEST_LABEL = 150
"""Longest part of a folder's name in the quarantine that is the name of its scene, in bytes."""


def quarantine(name: str, path: Path, files: Mapping[str, Path], inbox: Path, reason: str) -> None:
    """Move a scene into a folder of the quarantine; write the reason first, so that no scene lacks one after a kill."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    short = name.encode()[:_LONGEST_LABEL].decode(errors="ignore")
    # Numbered, so that an earlier quarantine of the same second is kept.
    places = (inbox / QUARANTINE / f"{short}.{now}{number}" for number in ("", *(f".{n}" for n in range(1, 1000))))
    place = next(place for place in places if not place.exists())
    place.mkdir(parents=True)
    report = {"scene": name, "reason": reason, "at": now}
    try:
        write_text(place / REASON, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        for entry in entries_of(path, files):
            shutil.move(entry, place / entry.name)
    except OSError:
        if all(entry.name == REASON for entry in place.iterdir()):  # nothing was moved
            shutil.rmtree(place)
        raise


def entries_of(path: Path, files: Mapping[str, Path]) -> list[Path]:
    """List the files of a scene in the inbox: MSI, main file, then its companions."""
    folder = path.parent
    found = {folder / file.relative_to(folder).parts[0] for file in files.values()} | {path}
    images = {entry for entry in found if entry != path and formats.is_cube(entry) and entry.stem != path.stem}
    return [*sorted(images), path, *sorted(found - images - {path})]
