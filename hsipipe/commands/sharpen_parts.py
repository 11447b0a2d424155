"""Remove the parts of a sharpening that did not end; those of a paused prediction of the same file stay."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hsipipe.errors import HsipipeError, ParamsError
from hsipipe.inference.made_of import progress_of
from hsipipe.storage.publish import discard, unfinished_folder

OURS = {"command": "sharpen"}
"""Mark of the parts of a sharpening in what they are made of."""


def discard_ours(target: Path) -> None:
    """Remove unfinished parts of a sharpening, which no later call resumes, since it trains another model.

    Raises:
        ParamsError: There are parts of another command.
        IntegrityError: It is not known what they are of.
        AlreadyRunningError: Another process writes them.
    """
    with unfinished_folder(target) as folder:
        found = progress_of(target)
        if found is not None and not OURS.items() <= found.made_of.items():
            raise ParamsError(
                f"{folder} holds an unfinished prediction of {target}; finish it by its command, remove that folder, "
                "or choose another name for the result."
            )
        discard(folder)


@contextmanager
def nothing_of_ours_left(target: Path) -> Iterator[None]:
    """Remove the parts of a sharpening if the body fails or is interrupted."""
    try:
        yield
    except BaseException:
        with suppress(HsipipeError):  # parts of others
            discard_ours(target)
        raise
