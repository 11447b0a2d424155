"""Read an upload once in a child process with limits, before a worker reads it.

SciPy and GDAL parse these files. A damaged one can crash or hang them, and Python cannot end a thread.
"""

from collections.abc import Callable
from pathlib import Path

from hsipipe.errors import one_line
from hsipipe.formats import open_cube
from hsipipe.formats.geotiff import GeoTiff
from hsipipe.formats.lazy import blocks
from hsipipe.formats.netcdf import NetCdf
from hsipipe.isolation import Limits as ChildLimits
from hsipipe.isolation import UnansweredError, prepare_children, run_limited
from hsipipe.machine import machine_trouble
from hsipipe.serving.failures import RequestError
from hsipipe.serving.limits import Limits
from hsipipe.serving.uploads import NPY, Upload

_BASE_BYTES = 512 << 20
_BASE_S, _BYTES_PER_S = 5.0, 5e6
"""CPU time for any file, and the slowest plausible reading."""
_PRELOAD = (__name__, NetCdf.__module__, GeoTiff.__module__, "rioxarray")


def prepare_rehearsals() -> None:
    """Start what the children are forked from, which takes seconds."""
    prepare_children(_PRELOAD)


def rehearse(
    upload: Upload, *, variable: str | None, bands: int | None, limits: Limits, while_waiting: Callable[[], None]
) -> None:
    """Read a cube whole in a child process; the values of a .npy are mapped and need no parser.

    Args:
        upload: The file.
        variable: Variable to read, as for :func:`open_cube`.
        bands: Number of bands, as for :func:`open_cube`.
        limits: Limits of the server.
        while_waiting: Called several times a second; an error that it raises ends the child.

    Raises:
        RequestError: The file is not a cube, or reading it takes too much time or memory, or crashes.
    """
    if upload.kind is NPY:
        return
    cpu_s = min(limits.read_s, _BASE_S + upload.path.stat().st_size / _BYTES_PER_S)
    child = ChildLimits(cpu_s, 2 * cpu_s, _BASE_BYTES + 4 * limits.values)
    try:
        refusal = run_limited(
            _read,
            str(upload.path),
            variable,
            bands,
            limits.values,
            limits=child,
            preload=_PRELOAD,
            while_waiting=while_waiting,
        )
    except UnansweredError as error:
        how = f"was not read within {cpu_s:.3g} s" if error.is_late else f"ended its reader with {error}"
        raise RequestError(400, f"{upload.path.name} {how}; it is damaged, write it again.", reason="read") from error
    if refusal:
        raise RequestError(400, refusal)


def _read(path: str, variable: str | None, bands: int | None, most: int) -> str:
    """Return why a cube cannot be read; empty if it can, or if it has more values than the server takes."""
    try:
        cube = open_cube(path, variable=variable, bands=bands)
        if cube.size <= most:
            for _ in blocks(cube):
                pass
    except Exception as error:
        if machine_trouble(error):
            return f"{Path(path).name} takes too much memory to read; it is damaged, or write it without compression."
        return one_line(error)
    return ""
