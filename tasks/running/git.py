"""Call git in a child process; a checkout without git is not an error."""

import subprocess
from pathlib import Path

from hsipipe.errors import HsipipeError, one_line
from tasks.running.project import DVC_LOCKS

_PATIENCE_S = 60


def git(folder: Path, *arguments: str) -> str | None:
    """Return the output of ``git <arguments>`` in `folder`; None if it fails or git is missing."""
    try:
        done = _run(folder, *arguments)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip("\n") if done.returncode == 0 else None


def head(root: Path) -> str | None:
    """Return the commit of HEAD; None without a repository or commit, or if git refuses."""
    return git(root, "rev-parse", "HEAD")


def changed(root: Path) -> str | None:
    """Return uncommitted changes below `root`; None if git fails.

    DVC's lock files do not count: every stage of a run changes them.
    """
    # Overrides the user's configuration: a new module counts.
    excluded = [f":(exclude){name}" for name in DVC_LOCKS]
    return git(root, "status", "--porcelain", "--untracked-files=normal", "--", ".", *excluded)


def commit(root: Path, paths: list[str], message: str) -> None:
    """Commit the given files alone to the current branch; do nothing if they are unchanged.

    No hooks run and nothing is signed. Without a configured name or address, that of the author is ``hsipipe``.

    Raises:
        HsipipeError: Git refuses; carries its message.
    """
    if git(root, "rev-parse", "--git-dir") is None:
        return
    present = [path for path in paths if (root / path).exists()]
    if not present or git(root, "status", "--porcelain", "--untracked-files=all", "--", *present) == "":
        return
    identity = {"user.name": "hsipipe", "user.email": "hsipipe@localhost"}
    who = [part for key, value in identity.items() if not git(root, "config", key) for part in ("-c", f"{key}={value}")]
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
