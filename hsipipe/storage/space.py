"""Check, before the work, that its result can be written: folder, name, free disk, limits of the process."""

import os
import resource
import shutil
import tempfile
from pathlib import Path

from hsipipe.errors import DataError

_OF_TEMPORARY = len(".") + len(".4194304.tmp.hdr")
"""Characters that the name of a temporary file has in addition to the name of the result."""


def check_folder(path: Path) -> None:
    """Check that a file can be created next to `path`, in a folder that exists, under a temporary name.

    Raises:
        DataError: The folder is not writable, or the name is too long for it.
    """
    folder = path.absolute().parent
    longest = os.pathconf(folder, "PC_NAME_MAX") - _OF_TEMPORARY
    if len(os.fsencode(path.name)) > longest:
        raise DataError(
            f"{path.name[:40]}... has {len(os.fsencode(path.name))} bytes, expected a name of at most {longest} bytes, "
            "since it is written under a longer temporary name; shorten it."
        )
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"{path}: the folder {folder} is not writable ({error.strerror}); change its mode, or choose another."
        ) from error


def create_file(path: Path, nbytes: int) -> None:
    """Create a file of zeros, or extend one, whose space on the disk is reserved.

    A full disk is then an error here. Later, in a mapped file, it would be a signal that ends the process.

    Raises:
        OSError: The disk is full.
    """
    with path.open("ab") as stream:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(stream.fileno(), 0, nbytes)
        stream.truncate(nbytes)


def check_space(path: Path, nbytes: int, *, files: int = 1) -> None:
    """Check that the disk of `path` has space for a result.

    Args:
        path: File or folder of the result; its parent exists.
        nbytes: Size of the result in bytes, uncompressed.
        files: Number of files among which the size is shared equally; 0: many small ones.

    Raises:
        DataError: The disk or a limit of the process is too small.
    """
    folder = path.absolute().parent
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise DataError(
            f"{path} needs up to {size_text(nbytes)}, but the disk of {folder} has {size_text(free)} free; free some "
            "space, or write to another disk."
        )
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if files and limit != resource.RLIM_INFINITY and nbytes // files > limit:
        raise DataError(
            f"{path} needs {size_text(nbytes // files)}, but this process may write files of at most "
            f"{size_text(limit)} (ulimit -f); raise the limit, or write a .zarr."
        )


def size_text(nbytes: float) -> str:
    """Return a size in the largest unit that gives at least 1, such as ``1.5 GB``.

    >>> size_text(1.5e9)
    '1.5 GB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.4g} TB"
