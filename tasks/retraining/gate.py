"""Gate: compare the project's challenger with the registry's champion on scenes new to both."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hsipipe.artifacts import DegradedPairs, RegisteredModel
from hsipipe.artifacts.registration import Registration
from hsipipe.checkout import PARAMS
from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.model_registry.load import fetch_pinned, resolve_registered
from hsipipe.params import Params, load_params
from hsipipe.storage.manifest import digest
from tasks.retraining.verdict import Verdict, keep_verdict
from tasks.running.git import head
from tasks.running.project import model_name
from tasks.tracking import stage_run, standing


def judge(root: Path) -> Verdict:
    """Compare the model that this project registered last with the champion; promote nothing.

    The verdict is kept in ``.hsipipe/gate.json`` and, with the scores of every scene, as a run of MLflow.

    Raises:
        MissingInputError: Nothing is registered, or the test scenes are missing.
        IntegrityError: The challenger is not the model of this project, or the bytes of a model have changed.
        ModelInputError: The champion does not accept these scenes.
    """
    params = load_params(root / PARAMS)
    verdict = undecided(root, model_name(params))
    scores: dict[str, Any] = {}
    inputs = {kind.LOCATION: digest(kind.in_project(root).path) for kind in (DegradedPairs, RegisteredModel)}
    gate = params.gate.model_dump(mode="json")
    with stage_run(root, "gate", params=params, visible={"gate": gate}, digests=inputs) as tracker:
        if not verdict.reasons:
            verdict, scores = _compare(root, params, verdict)
        tracker.artifact(keep_verdict(root, verdict, scores), "gate")
        tracker.tag("gate.promote", verdict.promote)
        tracker.log(0, verdict.numbers())
    return verdict


def undecided(root: Path, name: str) -> Verdict:
    """Return a verdict before any comparison: both versions, and reasons against the challenger."""
    if (root / Registration.PATH).is_file() and Registration.read(root).method is None:
        raise MissingInputError(
            "No compared method is trained, so nothing is registered; add one to compare in params.yaml "
            "(hsipipe methods lists them), then run: hsipipe pipeline"
        )
    now, own = standing(root, name), RegisteredModel.in_project(root).path
    if now.challenger is None:
        raise MissingInputError(f"{name} has no challenger; run: dvc repro --force --single-item register")
    sha256 = digest(own)
    if now.sha256.get(now.challenger) != sha256:
        raise IntegrityError(
            f"The challenger of {name}, version {now.challenger}, does not match {own}: another project "
            "registered it, or the run is incomplete. Run: dvc repro --force --single-item register"
        )
    verdict = Verdict(name, now.challenger, now.champion, sha256, head(root), promote=False)
    if now.challenger == now.champion:
        return replace(verdict, reasons=("It is already the champion.",))
    if now.challenger in now.withdrawn:
        reason = f"Version {now.challenger} was rolled back; promote it by hand if intended (hsipipe promote)."
        return replace(verdict, reasons=(reason,))
    if fault := now.versions[now.challenger].get("fault"):
        reason = f"Its training was not completed ({fault}); promote it by hand if intended (hsipipe promote)."
        return replace(verdict, reasons=(reason,))
    if now.champion is None and now.numbered:
        reason = f"{name} has lost its champion alias; set it with: hsipipe promote VERSION"
        return replace(verdict, reasons=(reason,))
    return verdict


def _compare(root: Path, params: Params, verdict: Verdict) -> tuple[Verdict, dict[str, Any]]:
    from hsipipe.evaluation.contest import compare
    from hsipipe.evaluation.gate import decide
    from hsipipe.evaluation.score_method import finite
    from hsipipe.methods.bicubic import Bicubic
    from hsipipe.protocols import make_protocol

    pairs = DegradedPairs.in_project(root)
    challenger, left_out = _load(root, params, pairs, f"models:/{verdict.name}/{verdict.challenger}")
    if verdict.champion is None:
        rival: SuperResolver = Bicubic(challenger.scale)
    else:
        rival, seen = _load(root, params, pairs, f"models:/{verdict.name}/{verdict.champion}")
        left_out |= seen
    index = pairs.index()
    data, split, degradation = params.dataset, params.split, params.degradation
    plan, srf = index["splits"], index["srf"]
    protocol = make_protocol(params.protocol, dataset=data, split=split, degradation=degradation, plan=plan, srf=srf)
    contest = compare((challenger, rival), pairs, protocol=protocol, sampling=params.sampling, leave_out=left_out)
    new, old = contest.scores
    latency = None if verdict.champion is None else (contest.latency_s[0], contest.latency_s[1])
    decision = decide(new, old, latency_s=latency, gate=params.gate)
    said = replace(
        verdict,
        promote=decision.promote,
        hash=contest.hash,
        scenes=decision.scenes,
        left_out=tuple(sorted(left_out)),
        checks=tuple(decision.as_json()["checks"]),
        reasons=decision.reasons,
    )
    return said, finite({"challenger": new, "champion": old})


def _load(root: Path, params: Params, pairs: DegradedPairs, uri: str) -> tuple[SuperResolver, set[str]]:
    """Load a version; return it with the test scenes that it was fitted on."""
    from hsipipe.methods.catalogue import load_model
    from hsipipe.methods.device import device_for
    from hsipipe.methods.provenance import fitted_ground, seen_scenes

    pinned = resolve_registered(root, uri)
    with TemporaryDirectory(prefix="hsipipe-model-") as place:
        folder = fetch_pinned(root, pinned, Path(place))
        ground = fitted_ground(folder)
        if ground is None:
            raise MissingInputError(
                f"{uri} has no provenance, so the scenes new to it are unknown; register it again, or promote it by "
                "hand (hsipipe promote)."
            )
        device = str(device_for(params.hardware.accelerator))
        model = load_model(folder, device=device, sha256=pinned.sha256)
    return model, set(seen_scenes(ground, pairs, dataset=params.dataset))
