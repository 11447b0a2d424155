"""Git, asked in a child process; a checkout without git is no error."""

import subprocess
from pathlib import Path

from hsipipe.errors import HsipipeError, one_line

_PATIENCE_S = 60


def git(folder: Path, *arguments: str) -> str | None:
    """What ``git <arguments>`` prints in `folder`; None if it fails, or there is no git."""
    try:
        done = _run(folder, *arguments)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip("\n") if done.returncode == 0 else None


def head(root: Path) -> str | None:
    """The commit that is checked out; None: no repository, none yet, or git refuses."""
    return git(root, "rev-parse", "HEAD")


def changed(root: Path) -> str | None:
    """Uncommitted changes below `root` but for dvc.lock, which every stage of a run changes; None: git cannot tell."""
    # Whatever a person has configured: a new module counts.
    return git(root, "status", "--porcelain", "--untracked-files=normal", "--", ".", ":(exclude)dvc.lock")


def commit(root: Path, paths: list[str], message: str) -> None:
    """Commit the given files alone to the branch that is checked out; nothing happens where they have not changed.

    No hooks run, nothing is signed, and where nobody has told git who commits, the project does.

    Raises:
        HsipipeError: Git refuses; the message is its own.
    """
    if git(root, "rev-parse", "--git-dir") is None:
        return
    present = [path for path in paths if (root / path).exists()]
    if not present or git(root, "status", "--porcelain", "--untracked-files=all", "--", *present) == "":
        return
    who = [] if git(root, "config", "user.email") else ["-c", "user.name=hsipipe", "-c", "user.email=hsipipe@localhost"]
    quiet = ["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"]
    for arguments in (
        ["add", "--", *present],
        [*who, *quiet, "commit", "--quiet", "--message", message, "--only", "--", *present],
    ):
        try:
            done = _run(root, *arguments)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HsipipeError(f"git cannot commit {', '.join(present)}: {error}") from error
        if done.returncode:
            raise HsipipeError(
                f"git cannot commit {', '.join(present)}: {one_line(done.stderr or 'it gave no reason')}"
            )


def _run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=_PATIENCE_S
    )
