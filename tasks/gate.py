"""The gate: is the challenger of this project better than the champion of the registry, on scenes new to both?"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsipipe.artifacts import DegradedPairs, RegisteredModel
from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.params import Params, load_params
from hsipipe.storage.manifest import digest
from hsipipe.storage.publish import write_text
from tasks.project import PARAMS, model_name, own_model_name
from tasks.tracking import fetch_registered, stage_run, standing

VERDICT = "gate.json"
"""What the gate said last, in ``.hsipipe``, and with its run in MLflow."""


@dataclass(frozen=True)
class Verdict:
    """What the gate said.

    Attributes:
        name: The registered model.
        challenger: Its version that was judged.
        champion: The version that it was held against; None: interpolation, there is no champion.
        sha256: Digest of the challenger.
        promote: Whether it may become the champion.
        hash: Names scenes, degradation and metrics of the comparison; empty if there was none.
        scenes: The scenes that were compared.
        left_out: Test scenes that one of the two was fitted on.
        checks: Each condition in a sentence.
        reasons: Why it may not; empty if it may.
    """

    name: str
    challenger: int
    champion: int | None
    sha256: str
    promote: bool
    hash: str = ""
    scenes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    reasons: tuple[str, ...] = ()

    @classmethod
    def without_comparison(cls, root: Path, reasons: Sequence[str]) -> "Verdict":
        """Against the challenger, whatever its scores are."""
        name = own_model_name(root)
        now = standing(root, name)
        sha256 = now.sha256.get(now.challenger, "") if now.challenger is not None else ""
        return cls(name, now.challenger or 0, now.champion, sha256, False, reasons=tuple(reasons))

    def sentences(self) -> list[str]:
        """For people: who against whom, each condition, and what follows."""
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
        """Every number of every condition, for the run in MLflow."""
        keys = ("champion", "challenger", "difference", "bound")
        return {f"{c['metric']}.{key}": c[key] for c in self.checks for key in keys if c[key] is not None}

    def evidence(self) -> dict[str, object]:
        """Tags of the version."""
        tags: dict[str, object] = {"gate.hash": self.hash, "gate.scenes": len(self.scenes)}
        tags["gate.champion"] = "interpolation" if self.champion is None else self.champion
        for check in self.checks:
            tags |= {f"gate.{check['metric']}.{key}": check[key] for key in ("champion", "challenger", "bound")}
        return tags


def judge(root: Path) -> Verdict:
    """Compare the model that this project registered last with the champion; promotes nothing.

    The verdict is kept in ``.hsipipe/gate.json`` and, with the scores of every scene, as a run of MLflow.

    Raises:
        MissingInputError: Nothing is registered, or the test scenes are not there.
        IntegrityError: The challenger is not what this project has made, or a model's bytes have changed.
        ModelInputError: The champion does not take these scenes.
    """
    params = load_params(root / PARAMS)
    name, own = model_name(params), RegisteredModel.in_project(root).path
    now = standing(root, name)
    if now.challenger is None:
        raise MissingInputError(f"{name} has no challenger; run: dvc repro --force --single-item register")
    sha256 = digest(own)
    if now.sha256.get(now.challenger) != sha256:
        raise IntegrityError(
            f"The challenger of {name}, version {now.challenger}, is not what {own} holds: another project has "
            "registered it, or the run is not complete. Run: dvc repro --force --single-item register"
        )
    said = _before_comparison(name, now.challenger, now.champion, sha256, now.withdrawn)
    pairs = DegradedPairs.in_project(root)
    inputs = {place.LOCATION: digest(place.in_project(root).path) for place in (DegradedPairs, RegisteredModel)}
    gate = params.gate.model_dump(mode="json")
    with stage_run(root, "gate", params=params, visible={"gate": gate}, digests=inputs) as tracker:
        verdict, scores = (said, {}) if said else _compare(root, params, pairs, name, now.challenger, now.champion)
        text = json.dumps({**verdict.__dict__, "scores": scores}, indent=1) + "\n"
        path = root / ".hsipipe" / VERDICT
        write_text(path, text)
        tracker.artifact(path, "gate")
        tracker.tag("gate.promote", verdict.promote)
        tracker.log(0, verdict.numbers())
    return verdict


def last_verdict(root: Path) -> Verdict:
    """What :func:`judge` said last.

    Raises:
        MissingInputError: Nothing was judged.
    """
    path = root / ".hsipipe" / VERDICT
    if not path.is_file():
        raise MissingInputError(f"No {path}; run: python -m tasks gate")
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree.pop("scores")
    sequences = {key: tuple(tree[key]) for key in ("scenes", "left_out", "checks", "reasons")}
    return Verdict(**{**tree, **sequences})


def _before_comparison(
    name: str, challenger: int, champion: int | None, sha256: str, withdrawn: Sequence[int]
) -> Verdict | None:
    """What needs no comparison."""
    if challenger == champion:
        return Verdict(name, challenger, champion, sha256, False, reasons=("It is the champion already.",))
    if challenger in withdrawn:
        reason = f"Version {challenger} was rolled back; promote it by hand if that was wrong (hsipipe promote)."
        return Verdict(name, challenger, champion, sha256, False, reasons=(reason,))
    return None


def _compare(
    root: Path, params: Params, pairs: DegradedPairs, name: str, challenger: int, champion: int | None
) -> tuple[Verdict, dict[str, Any]]:
    from hsipipe.degradation.pairs import pairs_index
    from hsipipe.evaluation.contest import compare
    from hsipipe.evaluation.gate import decide
    from hsipipe.models.baselines.bicubic import Bicubic
    from hsipipe.models.catalogue import load_model
    from hsipipe.models.device import device_for
    from hsipipe.models.provenance import fitted_ground, seen_scenes
    from hsipipe.protocols import make_protocol

    device = device_for(params.hardware.accelerator)
    versions = [challenger] if champion is None else [challenger, champion]
    folders = {version: fetch_registered(root, f"models:/{name}/{version}") for version in versions}
    models = [load_model(folders[version], device=str(device)) for version in versions]
    left_out: set[str] = set()
    for version, folder in folders.items():
        ground = fitted_ground(folder)
        if ground is None:
            raise MissingInputError(
                f"Version {version} of {name} does not say what it was fitted on, so nobody knows which scenes are new "
                "to it; register it anew, or promote by hand (hsipipe promote)."
            )
        left_out |= set(seen_scenes(ground, pairs, dataset=params.dataset))
    index = pairs_index(pairs)
    protocol = make_protocol(
        params.protocol,
        dataset=params.dataset,
        split=params.split,
        degradation=params.degradation,
        plan=index["splits"],
        srf=index["srf"],
    )
    rivals = (models[0], models[1] if champion is not None else Bicubic(models[0].scale))
    contest = compare(rivals, pairs, protocol=protocol, sampling=params.sampling, leave_out=left_out)
    latency = None if champion is None else (contest.latency_s[0], contest.latency_s[1])
    decision = decide(contest.scores[0], contest.scores[1], latency_s=latency, gate=params.gate)
    tree = decision.as_json()
    verdict = Verdict(
        name,
        challenger,
        champion,
        digest(folders[challenger]),
        decision.promote,
        hash=contest.hash,
        scenes=decision.scenes,
        left_out=tuple(sorted(left_out)),
        checks=tuple(tree["checks"]),
        reasons=decision.reasons,
    )
    return verdict, {"challenger": contest.scores[0], "champion": contest.scores[1]}
