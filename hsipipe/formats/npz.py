"""NumPy .npz: a cube (band, y, x) and its wavelengths in one archive. Pickled objects are refused."""

import io
import math
import zipfile
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.lib import format as npy_format

from hsipipe.formats.axes import axis_of_count, bands_to_front
from hsipipe.formats.base import CubeFormat, make_cube, pick_variable, remember
from hsipipe.formats.claims import AtOnce, check_claim
from hsipipe.formats.wavelengths import find_wavelengths

_MOST_HEADER = 10_012
"""Bytes of the longest header that NumPy accepts."""


class Npz(CubeFormat):
    """NumPy's archive of several arrays."""

    title = "NumPy .npz"
    suffixes = (".npz",)

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Read the cube and the wavelengths of the archive; their number also identifies the band axis."""
        # Pass an open stream: NumPy leaks a handle when it opens a truncated archive by its name.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            headers = {name: _header(archive.zip, name) for name in archive.files}
            shapes = {name: shape for name, (shape, _) in headers.items()}
            name = pick_variable(shapes, variable)
            check_claim(f"the array {name!r}", math.prod(shapes[name]) * headers[name][1], held=path.stat().st_size)
            values, at_once = archive[name], AtOnce()
            names = [
                key
                for key, (shape, item) in headers.items()
                if len(shape) == 1 and shape[0] in values.shape and at_once.take(shape[0] * item)
            ]
            vectors = {key: archive[key] for key in names}
        found = find_wavelengths(vectors, values.shape)
        count = None if found is None else found[1].size
        if values.ndim == 3:
            values = np.ascontiguousarray(bands_to_front(values, axis_of_count(values.shape, bands or count)))
        nm = found[1] if found is not None and count == values.shape[0] else None
        return remember(make_cube(values, wavelength_nm=nm), dtype=values.dtype, variable=name, variables=shapes)


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], int]:
    """Return the shape of an array, and the bytes of a value."""
    member = name if name in archive.NameToInfo else f"{name}.npy"
    with archive.open(member) as packed:
        stream = io.BytesIO(packed.read(_MOST_HEADER))  # NumPy would read as much as the header claims
        version = npy_format.read_magic(stream)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read(stream)
        return tuple(shape), dtype.itemsize


FORMAT = Npz()
