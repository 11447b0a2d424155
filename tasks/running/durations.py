"""Remember how long each stage took, to say before a run how long it may take."""

from collections.abc import Sequence
from pathlib import Path

from hsipipe.progress import duration
from hsipipe.storage.publish import write_text


def remember(root: Path, label: str, seconds: float) -> None:
    """Keep the duration of a stage, ``train@edsr``, that succeeded."""
    path = _path(root, label)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"{seconds:.1f}\n")


def remembered(root: Path, label: str) -> float | None:
    """Return the seconds that a stage last took; None: it has not run here."""
    try:
        return float(_path(root, label).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def forecast(root: Path, labels: Sequence[str]) -> str:
    """Say how long the stages of a run last took together; empty: none has run here."""
    known = [seconds for label in labels if (seconds := remembered(root, label)) is not None]
    if not known:
        return ""
    some = f"{len(labels)} stages" if len(known) == len(labels) else f"{len(known)} of {len(labels)} stages"
    return f"{some} last took {duration(sum(known))}; one that is up to date takes no time"


def _path(root: Path, label: str) -> Path:
    return root / ".hsipipe" / "durations" / label
