"""From a verdict to a champion: only of a whole run of committed code."""

from collections.abc import Callable
from pathlib import Path

from tasks import ledger
from tasks.git import changed, commit, git
from tasks.tracking import promote, standing
from tasks.verdict import Verdict


def unfit(root: Path, *, on_line: Callable[[str], object]) -> list[str]:
    """Why nothing may be promoted, whatever the gate says; empty if nothing speaks against it.

    A run is fit if every output is what committed code and parameters make of the data.
    """
    differences = changed(root)
    if differences is None or git(root, "rev-parse", "HEAD") is None:
        return [f"{root} is in no git repository with a commit, so nobody could say from which code the model came."]
    said = []
    if differences:
        files = ", ".join(line.strip().split(maxsplit=1)[-1] for line in differences.splitlines()[:5])
        said.append(f"There are uncommitted changes ({files}); commit or undo them.")
    if stale := ledger.stale(root, on_line=on_line):
        said.append(f"The run is not complete, these stages are not up to date: {', '.join(stale)}; run: dvc repro")
    return said


def promote_challenger(root: Path, verdict: Verdict) -> str:
    """Make the challenger the champion if the verdict is so; the state of the data is committed first.

    Returns:
        What happened, in a sentence.

    Raises:
        HsipipeError: The registry moved in the meantime, or the challenger's bytes have changed; nothing moved.
    """
    if not verdict.promote:
        return f"Version {verdict.challenger} of {verdict.name} is not promoted: {' '.join(verdict.reasons)}"
    if standing(root, verdict.name).champion == verdict.challenger:  # a run that was killed after the alias moved
        return f"Version {verdict.challenger} of {verdict.name} is the champion."
    commit(root, ["dvc.lock"], f"chore: state of the data behind version {verdict.challenger} of {verdict.name}")
    evidence = {**verdict.evidence(), "gate.git.commit": git(root, "rev-parse", "HEAD")}
    before = "none" if verdict.champion is None else f"version {verdict.champion}"
    reason = next((check["text"] for check in verdict.checks if check["metric"] == "mpsnr_db"), "by the gate")
    promote(root, verdict.name, verdict.challenger, expected=verdict.champion, reason=str(reason), evidence=evidence)
    return f"Version {verdict.challenger} of {verdict.name} is the champion; before it was {before}. {reason}"
