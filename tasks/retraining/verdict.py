"""Verdict of the gate."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.json_text import parse_json
from hsipipe.storage.publish import write_text
from tasks.running.git import head
from tasks.running.project import own_model_name
from tasks.tracking import standing

VERDICT = "gate.json"
"""Name of its file in ``.hsipipe`` and among the artifacts of its MLflow run."""


@dataclass(frozen=True)
class Verdict:
    """Verdict of the gate on one challenger.

    Attributes:
        name: The registered model.
        challenger: Judged version.
        champion: Version it was compared with; None: no champion, compared with interpolation.
        sha256: Digest of the challenger.
        commit: Commit of HEAD when all stages were up to date.
        promote: Whether it may become the champion.
        hash: Identifies scenes, degradation and metrics of the comparison; empty without one.
        scenes: Scenes of the comparison.
        left_out: Skipped test scenes, on which one of the two was fitted.
        checks: Result of each condition.
        reasons: Reasons against the promotion; empty if it may be promoted.
    """

    name: str
    challenger: int
    champion: int | None
    sha256: str
    commit: str | None
    promote: bool
    hash: str = ""
    scenes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    reasons: tuple[str, ...] = ()

    @classmethod
    def without_comparison(cls, root: Path, reasons: Sequence[str]) -> "Verdict":
        """Return a verdict against the challenger, independent of its scores."""
        name = own_model_name(root)
        now = standing(root, name)
        sha256 = now.sha256.get(now.challenger, "") if now.challenger is not None else ""
        return cls(name, now.challenger or 0, now.champion, sha256, head(root), promote=False, reasons=tuple(reasons))

    def sentences(self) -> list[str]:
        """Describe the comparison, each condition and the decision."""
        rival = f"version {self.champion}" if self.champion else "interpolation, since there is no champion"
        said = [f"{self.name}: version {self.challenger} against {rival}"]
        if self.scenes:
            said.append(f"on {', '.join(self.scenes)}")
        if self.left_out:
            said.append(f"without {', '.join(self.left_out)}, which one of the two was fitted on")
        said += [f"{'ok  ' if check['passed'] else 'FAIL'} {check['text']}" for check in self.checks]
        of_checks = {check["text"] for check in self.checks}
        said += [reason for reason in self.reasons if reason not in of_checks]
        return [*said, "It may be promoted." if self.promote else "It is not promoted."]

    def numbers(self) -> dict[str, float]:
        """Return the numbers of all conditions, for the MLflow run."""
        keys = ("champion", "challenger", "difference", "bound")
        return {f"{c['metric']}.{key}": c[key] for c in self.checks for key in keys if c[key] is not None}

    def evidence(self) -> dict[str, object]:
        """Return the tags for the registered version."""
        tags: dict[str, object] = {"gate.hash": self.hash, "gate.scenes": len(self.scenes)}
        tags["gate.champion"] = "interpolation" if self.champion is None else self.champion
        for check in self.checks:
            tags |= {f"gate.{check['metric']}.{key}": check[key] for key in ("champion", "challenger", "bound")}
        return tags


def keep_verdict(root: Path, verdict: Verdict, scores: Mapping[str, Any]) -> Path:
    """Write a verdict with the scores of every scene to ``.hsipipe``; return its path."""
    path = root / ".hsipipe" / VERDICT
    write_text(path, json.dumps({**asdict(verdict), "scores": scores}, indent=1, allow_nan=False) + "\n")
    return path


def last_verdict(root: Path) -> Verdict:
    """Read the verdict of the last gate.

    Raises:
        MissingInputError: No verdict was written.
        IntegrityError: The file is damaged.
    """
    path = root / ".hsipipe" / VERDICT
    if not path.is_file():
        raise MissingInputError(f"No {path}; run: python -m tasks gate")
    try:
        tree = parse_json(path.read_text(encoding="utf-8"))
        tree.pop("scores")
        sequences = {key: tuple(tree[key]) for key in ("scenes", "left_out", "checks", "reasons")}
        return Verdict(**{**tree, **sequences})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); run: python -m tasks gate") from error
