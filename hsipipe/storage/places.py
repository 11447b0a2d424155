"""Size, version and bytes of a file by its path or its address."""

from typing import BinaryIO, cast

from hsipipe.storage.urls import Place, Url

# What reads the network is slow to import, and seldom needed.


def size_of(place: Place) -> int:
    """Return the size of a file in bytes."""
    return int(version_of(place)[1])


def version_of(place: Place) -> tuple[str, int]:
    """Return what tells the versions of a file apart, and its size in bytes."""
    if isinstance(place, Url):
        from hsipipe.storage.ranges import state_of

        found = state_of(place)
        return found.tag, found.size
    state = place.stat()
    return str(state.st_mtime_ns), state.st_size


def open_bytes(place: Place) -> BinaryIO:
    """Open a file for reading at any place."""
    if isinstance(place, Url):
        from hsipipe.storage.ranges import RangeFile

        return cast(BinaryIO, RangeFile(place))
    return place.open("rb")
