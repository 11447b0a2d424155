"""Which code a run came from."""

from pathlib import Path

from tasks.git import changed, git


def git_tags(root: Path) -> dict[str, str]:
    """Commit and whether the working tree differs from it; nothing outside a git repository."""
    commit = git(root, "rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changed(root))).lower()}
