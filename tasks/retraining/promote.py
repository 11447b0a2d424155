"""Promote a challenger, only from a complete run of committed code."""

from collections.abc import Callable
from pathlib import Path

from hsipipe.errors import HsipipeError
from tasks.retraining.new_scenes import is_stale
from tasks.retraining.verdict import Verdict
from tasks.running import dvc
from tasks.running.git import changed, commit, head
from tasks.running.project import DVC_LOCKS
from tasks.tracking import promote, standing


def unfit(root: Path, *, on_line: Callable[[str], object]) -> list[str]:
    """Return the reasons against any promotion, independent of the gate; empty if there are none.

    A run is fit if every output follows from the data by committed code and parameters.
    """
    differences = changed(root)
    if differences is None or head(root) is None:
        return [f"git cannot determine the commit of {root}, so the code of the model is unknown."]
    said = []
    if differences:
        files = ", ".join(line.strip().split(maxsplit=1)[-1] for line in differences.splitlines()[:5])
        said.append(f"There are uncommitted changes ({files}); commit or undo them.")
    if stale := dvc.stale(root, on_line=on_line):
        said.append(f"The run is incomplete, these stages are stale: {', '.join(stale)}; run: dvc repro")
    if is_stale(root):
        said.append("The scenes in data/raw differ from dataset.root; run: dvc repro --force -s download")
    return said


def promote_challenger(root: Path, verdict: Verdict, *, on_line: Callable[[str], object]) -> str:
    """Make the challenger the champion if the verdict allows it; commit dvc.lock first.

    Returns:
        The outcome in a sentence.

    Raises:
        HsipipeError: The registry, the checkout or the challenger's bytes have changed since the gate; no alias moved.
    """
    if not verdict.promote:
        return f"Version {verdict.challenger} of {verdict.name} is not promoted: {' '.join(verdict.reasons)}"
    now = standing(root, verdict.name)
    if now.champion == verdict.challenger:  # a run that was killed after the alias moved
        return f"Version {verdict.challenger} of {verdict.name} is the champion."
    judged = (verdict.champion, verdict.sha256, verdict.commit)
    if judged != (now.champion, now.sha256.get(verdict.challenger), head(root)):
        raise HsipipeError("The checkout or the registry is not what the gate has judged; run the retraining again.")
    if reasons := unfit(root, on_line=on_line):
        raise HsipipeError(f"The run has changed since the gate: {' '.join(reasons)}")
    commit(root, list(DVC_LOCKS), f"chore: state of the data behind version {verdict.challenger} of {verdict.name}")
    before = "none" if verdict.champion is None else f"version {verdict.champion}"
    reason = next((str(check["text"]) for check in verdict.checks if check["metric"] == "mpsnr_db"), "by the gate")
    evidence = {**verdict.evidence(), "gate.git.commit": head(root)}
    promote(root, verdict.name, verdict.challenger, expected=now, reason=reason, evidence=evidence)
    return f"Version {verdict.challenger} of {verdict.name} is the champion; before it was {before}. {reason}"
