"""Record the regions that a model was fitted on in its folder, so that it is never tested on them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsipipe.artifacts import DegradedPairs
from hsipipe.errors import IntegrityError
from hsipipe.json_text import parse_json
from hsipipe.params import DatasetParams

FILE = "provenance.json"
_FITTED = ("train", "val")
"""Parts of the split that a model depends on; the validation part chooses the checkpoint."""


@dataclass(frozen=True)
class Ground:
    """A region of a scene.

    Attributes:
        source: The data set; for synthetic data, also the settings that generate it.
        scene: The scene's name.
        region: Rows and columns in HR pixels, ``(y0, y1, x0, x1)``.
        sha256: Digest of the scene's files, for scenes that a name does not identify.
    """

    source: str
    scene: str
    region: tuple[int, int, int, int]
    sha256: str | None

    def touches(self, other: "Ground") -> bool:
        """Return True if the two share a pixel; equal names or equal bytes mean the same scene."""
        same = (self.source, self.scene) == (other.source, other.scene)
        if not same and (self.sha256 is None or self.sha256 != other.sha256):
            return False
        y0, y1, x0, x1 = self.region
        v0, v1, u0, u1 = other.region
        return y0 < v1 and v0 < y1 and x0 < u1 and u0 < x1


def write_provenance(folder: Path, pairs: DegradedPairs, *, dataset: DatasetParams) -> None:
    """Write the regions that a model was fitted on into its folder.

    Args:
        folder: Folder of the model, before it is published.
        pairs: The pairs that it was trained and validated on.
        dataset: The data set of the pairs.
    """
    tree = {part: _entries(pairs, part, dataset) for part in _FITTED}
    (folder / FILE).write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def fitted_ground(folder: Path) -> list[Ground] | None:
    """Read the regions that the model in a folder was fitted on; None: not recorded.

    Raises:
        IntegrityError: The record is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        tree = parse_json(path.read_text(encoding="utf-8"))
        return [_ground(entry) for part in _FITTED for entry in tree[part]]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); register the model again.") from error


def seen_scenes(ground: Sequence[Ground], pairs: DegradedPairs, *, dataset: DatasetParams) -> list[str]:
    """Return the names of the test regions that overlap a region that a model was fitted on."""
    tests = {str(entry["name"]): _ground(entry) for entry in _entries(pairs, "test", dataset)}
    return [name for name, test in tests.items() if any(test.touches(other) for other in ground)]


def _entries(pairs: DegradedPairs, part: str, dataset: DatasetParams) -> list[dict[str, Any]]:
    source = dataset.name
    if source == "synthetic":  # scenes generated from two seeds have the same names and different content
        source += json.dumps(dataset.synthetic.model_dump(mode="json"), sort_keys=True)
    return [
        {key: entry.get(key) for key in ("name", "scene", "region", "sha256")} | {"source": source}
        for entry in pairs.index()["splits"][part]
    ]


def _ground(entry: Mapping[str, Any]) -> Ground:
    y0, y1, x0, x1 = (int(value) for value in entry["region"])
    return Ground(str(entry["source"]), str(entry["scene"]), (y0, y1, x0, x1), entry["sha256"])
