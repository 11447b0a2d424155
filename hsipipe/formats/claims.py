"""Refuse what a file claims to hold before memory is taken for it: a few bytes can claim gigabytes."""

from collections.abc import Sequence

from hsipipe.errors import FileFormatError
from hsipipe.storage.space import size_text

MOST_SIDE = 1 << 22
"""Most bands, rows or columns; coordinates of each are kept in memory."""
_LEAST_BYTES = 256 << 20
"""Size up to which any claim is accepted."""
_MOST_RATIO = 200
"""Largest ratio of the unpacked size to that of the file; scenes reach 20."""


def check_sides(name: str, shape: Sequence[int]) -> None:
    """Check the sides of an array before coordinates are computed for them.

    Args:
        name: Name of the array in the message.
        shape: Its shape.

    Raises:
        FileFormatError: A side is longer than that of any scene.
    """
    if max(shape, default=0) > MOST_SIDE:
        raise FileFormatError(
            f"the array {name!r} claims {' x '.join(map(str, shape))} values, expected at most {MOST_SIDE} along a "
            "side; the file is damaged, or cut the scene"
        )


def check_claim(what: str, claimed: int, *, held: int) -> None:
    """Check the size of what is about to be unpacked at once.

    Args:
        what: Name of it, the subject of the message.
        claimed: Its size in bytes.
        held: Size of the file in bytes.

    Raises:
        FileFormatError: The file is far too small for it.
    """
    if claimed > max(_LEAST_BYTES, _MOST_RATIO * held):
        raise FileFormatError(
            f"{what} would take {size_text(claimed)} from {size_text(held)}, which no scene does; the file is damaged, "
            "or store it in smaller pieces or without compression"
        )


class AtOnce:
    """Memory for the small arrays of one file that are read when it is opened; larger ones stay lazy."""

    _MOST_EACH, _MOST_TOGETHER = 8 << 20, 64 << 20

    def __init__(self) -> None:
        self._left = self._MOST_TOGETHER

    def take(self, nbytes: int) -> bool:
        """Return True if an array of this size may be read at once."""
        if nbytes > min(self._MOST_EACH, self._left):
            return False
        self._left -= nbytes
        return True
