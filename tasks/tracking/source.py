"""Which code a run came from."""

import subprocess
from pathlib import Path


def git_tags(root: Path) -> dict[str, str]:
    """Commit and whether the working tree differs from it; nothing outside a git repository."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return {}
    # dvc.lock is left out: each stage of a run changes it, which says nothing about the code.
    changed = _git(root, "status", "--porcelain", "--", ".", ":(exclude)dvc.lock")
    return {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changed)).lower()}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
