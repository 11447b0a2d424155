"""Record what an unfinished prediction is made of, and read how far it is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsipipe.errors import IntegrityError, ParamsError
from hsipipe.json_text import parse_json
from hsipipe.storage.publish import discard, unfinished, write_text

MADE_OF, DONE = "made_of.json", "done"
"""File with the record, and folder with a file for each complete shard."""


@dataclass(frozen=True)
class Progress:
    """State of an unfinished prediction.

    Attributes:
        done: Number of its complete shards.
        total: Number of its shards.
        made_of: What it is made of, as given to :func:`begin`.
    """

    done: int
    total: int
    made_of: Mapping[str, Any]


def begin(folder: Path, made_of: dict[str, Any], *, shards: int, provenance: dict[str, str]) -> dict[str, str]:
    """Compare what an unfinished prediction is made of with what is wanted; return its provenance.

    In a new folder, both are written down.

    Args:
        folder: Folder of the parts.
        made_of: What the values depend on, as plain JSON.
        shards: Number of the shards.
        provenance: Attributes of the results.

    Raises:
        ParamsError: The unfinished prediction is made of something else; the message says what differs.
        IntegrityError: Its record is damaged.
    """
    wanted = json.loads(json.dumps(made_of))
    if not (folder / MADE_OF).is_file():
        for entry in folder.iterdir():  # of a run that was killed before it began
            discard(entry)
        tree = {"shards": shards, "made_of": wanted, "provenance": provenance}
        write_text(folder / MADE_OF, json.dumps(tree, indent=1) + "\n")
        return provenance
    tree = _read(folder)
    found = tree["made_of"]
    if found == wanted:
        return dict(tree.get("provenance", provenance))
    keys = [key for key in dict.fromkeys([*found, *wanted]) if found.get(key) != wanted.get(key)]
    told = "; ".join(f"{key}: {found.get(key)} there, {wanted.get(key)} now" for key in keys)
    raise ParamsError(
        f"{folder} holds an unfinished result that is made of something else ({told}). Run the command with the same "
        "model, input and options to go on with it, or remove that folder to begin again."
    )


def progress_of(target: Path) -> Progress | None:
    """Return the state of the unfinished prediction of a file; None if the file has no such prediction.

    Raises:
        IntegrityError: It is damaged.
    """
    folder = unfinished(target)
    if not (folder / MADE_OF).is_file():
        return None
    tree = _read(folder)
    done = sum(1 for path in (folder / DONE).glob("*.json"))
    return Progress(done, int(tree["shards"]), tree["made_of"])


def _read(folder: Path) -> dict[str, Any]:
    path = folder / MADE_OF
    try:
        tree = parse_json(path.read_text("utf-8"))
        if not (isinstance(tree["made_of"], dict) and isinstance(tree["shards"], int)):
            raise TypeError("it has no shards and made_of")
        if not isinstance(tree.get("provenance", {}), dict):
            raise TypeError("its provenance is no object")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); remove {folder} to begin again.") from error
    return dict(tree)
