"""Spectral responses from a user's file, as the matrix from narrow to broad bands of one cube."""

import hashlib
import os
from pathlib import Path, PurePath

import h5py
import numpy as np
import scipy.io
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import cumulative_trapezoid

from hsipipe.degradation.srf_tables import Curve, Matrix, parse_table, table_or_matrix
from hsipipe.errors import DataError, FileFormatError, HsipipeError, MissingInputError, UnknownNameError
from hsipipe.formats.hdf5 import open_hdf5, read_dataset

# Minimum share of the response of a band within the spectral range of the cube.
_LEAST_SHARE = 0.8
_NUMBERS = {"double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
# An SRF has a few thousand entries; the limit refuses a scene given by mistake.
_MOST_ENTRIES = 1 << 22


def is_table(name: str) -> bool:
    """Return True if a name is a path: it has a suffix or a separator."""
    return bool(PurePath(name.partition("#")[0]).suffix) or os.sep in name or "/" in name


def table_identity(name: str) -> str:
    """Return the digest of a table, for hashes; it does not depend on the path.

    Raises:
        MissingInputError: The file does not exist.
    """
    path, chosen = _place(name)
    content = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return f"{content}#{','.join(chosen)}" if chosen else content


def table_bands(name: str) -> list[str]:
    """Return the names of the selected bands of a table.

    Raises:
        MissingInputError: The file does not exist.
        FileFormatError: The file is damaged or no table.
        UnknownNameError: A selected band is missing.
    """
    path, chosen = _place(name)
    table = _read(path)
    if isinstance(table, Matrix):
        oblong = {key: values for key, values in table.variables.items() if values.shape[0] != values.shape[1]}
        bands = _matrix_names(table, min(_only(path, oblong).shape))
    else:
        bands = [_names(curve) for curve in table]
    return [bands[position][0] for position in _select(bands, chosen, path=path)]


def table_response(name: str, wavelengths_nm: ArrayLike, *, bands: int | None = None) -> NDArray[np.float64]:
    """Return the matrix (c, C) of a table; each row is non-negative and sums to one.

    Args:
        name: Path of the table, optionally with ``#`` and the comma-separated names or numbers of the bands.
        wavelengths_nm: Band centres of the cube, (C,); not needed for a matrix.
        bands: C, if the wavelengths are unknown.

    Raises:
        MissingInputError: The file does not exist.
        FileFormatError: The file is damaged or no table.
        UnknownNameError: A selected band is missing.
        DataError: The table does not fit the bands of the cube.
    """
    path, chosen = _place(name)
    table = _read(path)
    if isinstance(table, Matrix):
        weights = _oriented(path, table, np.size(wavelengths_nm) if bands is None else bands)
        return weights[_select(_matrix_names(table, len(weights)), chosen, path=path)]
    nm = known_wavelengths(name, wavelengths_nm)
    energies = [_energies(curve, nm) for curve in table]
    shares = [inside.sum() / total for inside, total in energies]
    chosen_bands = _select([_names(curve) for curve in table], chosen, path=path)
    for band in chosen_bands:
        if shares[band] < _LEAST_SHARE:
            fitting = [curve for curve, share in zip(table, shares, strict=True) if share >= _LEAST_SHARE]
            raise DataError(_outside(path, table[band], shares[band], nm, fitting))
    return np.stack([energies[band][0] / energies[band][0].sum() for band in chosen_bands])


def known_wavelengths(name: str, wavelengths_nm: ArrayLike) -> NDArray[np.float64]:
    """Return the wavelengths of the cube (C,).

    Raises:
        DataError: The cube has none.
    """
    nm = np.asarray(wavelengths_nm, dtype=np.float64).ravel()
    if not nm.size or not np.isfinite(nm).all():
        raise DataError(
            f"The cube has no wavelengths, so the spectral response {name!r} cannot be applied. "
            "Add a coordinate wavelength_nm to its bands."
        )
    return nm


def _place(name: str) -> tuple[Path, list[str]]:
    place, _, suffix = name.partition("#")
    path = Path(place).expanduser()
    if not path.is_file():
        raise MissingInputError(
            f"No file {path}, which degradation.srf names as a table of spectral responses; correct the path."
        )
    return path, [part.strip() for part in suffix.split(",") if part.strip()]


def _read(path: Path) -> list[Curve] | Matrix:
    readers = {".mat": _read_matlab, ".npy": _read_numpy}
    try:
        return readers.get(path.suffix.lower(), _read_text)(path)
    except FileFormatError as error:
        raise FileFormatError(f"{path} cannot be read as a table of spectral responses: {error}.") from error
    except HsipipeError:
        raise
    except Exception as error:  # the exceptions of parsers on damaged files are not documented
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(
            f"{path} cannot be read, it seems damaged or incomplete: {reason}. Replace the file."
        ) from error


def _read_text(path: Path) -> list[Curve] | Matrix:
    if path.stat().st_size > _MOST_ENTRIES:
        raise FileFormatError(f"it has {path.stat().st_size} bytes, expected at most {_MOST_ENTRIES} in a table")
    return parse_table(path.read_text(encoding="utf-8-sig", errors="replace"))


def _read_numpy(path: Path) -> list[Curve] | Matrix:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    return _from_arrays({"": values} if _is_matrix(values.shape, values.dtype.kind in "biuf") else {})


def _read_matlab(path: Path) -> list[Curve] | Matrix:
    if h5py.is_hdf5(path):
        with open_hdf5(path) as datasets:
            return _from_arrays({key: read_dataset(d) for key, d in datasets.items() if _is_matrix(d.shape, True)})
    names = [str(name) for name, shape, kind in scipy.io.whosmat(path) if _is_matrix(shape, kind in _NUMBERS)]
    values = scipy.io.loadmat(path, variable_names=names)
    return _from_arrays({name: values[name] for name in names})


def _is_matrix(shape: tuple[int, ...], numbers: bool) -> bool:
    return numbers and len(shape) == 2 and 0 < shape[0] * shape[1] <= _MOST_ENTRIES


def _from_arrays(arrays: dict[str, NDArray[np.generic]]) -> list[Curve] | Matrix:
    variables = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()}
    if not variables:
        raise FileFormatError("it holds no matrix of real numbers")
    for values in variables.values():
        curves = table_or_matrix(values)
        if curves is not None:
            return curves
    return Matrix(variables)


def _oriented(path: Path, table: Matrix, bands: int) -> NDArray[np.float64]:
    """Return the variable that fits the cube, as (c, C); each row sums to one."""
    fitting = {
        key: values if values.shape[1] == bands else values.T
        for key, values in table.variables.items()
        if bands in values.shape and min(values.shape) < bands
    }
    if not fitting:
        shapes = ", ".join(f"{key} {v.shape[0]} x {v.shape[1]}".strip() for key, v in table.variables.items())
        raise DataError(
            f"The spectral response {path} is for other bands: got {shapes}, expected one axis of {bands}, the bands "
            "of the cube, and a shorter one, the bands of the sensor. Provide the response for this cube."
        )
    weights = _only(path, fitting)
    sums = weights.sum(axis=1, keepdims=True)
    if not np.isfinite(sums).all() or (weights < 0).any() or not (sums > 0).all():
        raise DataError(
            f"The spectral response {path} has NaN, negative weights or a band of zeros, expected weights of 0 or "
            "more; correct the file."
        )
    return np.asarray(weights / sums)


def _only(path: Path, fitting: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    # A vector next to a matrix holds its wavelengths.
    matrices = {key: values for key, values in fitting.items() if min(values.shape) > 1} or fitting
    if len(matrices) == 1:
        return next(iter(matrices.values()))
    found = ", ".join(matrices) or "only square ones"
    raise DataError(
        f"{path} holds {found}, expected a single matrix for the spectral response; save it in a separate file."
    )


def _matrix_names(table: Matrix, count: int) -> list[tuple[str, ...]]:
    names = table.names if len(table.names) == count else tuple(str(number + 1) for number in range(count))
    return [(name,) for name in names]


def _names(curve: Curve) -> tuple[str, ...]:
    """Return the name of a band and its alternative names."""
    return curve.name, curve.key, *([curve.title] if curve.title else [])


def _select(bands: list[tuple[str, ...]], chosen: list[str], *, path: Path) -> list[int]:
    """Return the indices of the selected bands; all bands for an empty selection."""
    order = []
    for wanted in chosen:
        found = [i for i, names in enumerate(bands) if wanted.lower() in (name.lower() for name in names)]
        # Without numbers in the file, a number is a position.
        if not found and wanted.isdecimal() and not any(name.isdecimal() for names in bands for name in names):
            found = [i for i in range(len(bands)) if i + 1 == int(wanted)]
        if len(found) != 1:
            listed = ", ".join(names[0] for names in bands)
            problem = f"{len(found)} bands called" if found else "no band"
            raise UnknownNameError(f"The table {path} has {problem} {wanted!r}. Its bands: {listed}.")
        order += found
    return order or list(range(len(bands)))


def _energies(curve: Curve, nm: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Integrate a response over the cell of each band of the cube, (C,), and over all wavelengths.

    A cell extends half way to the neighbours, so denser sampling has no larger weight.
    """
    order = np.argsort(nm, kind="stable")
    sorted_nm = nm[order]
    between = (sorted_nm[1:] + sorted_nm[:-1]) / 2
    first, last = (np.diff(sorted_nm)[[0, -1]] / 2) if nm.size > 1 else (0.5, 0.5)
    edges = np.clip(np.r_[sorted_nm[0] - first, between, sorted_nm[-1] + last], curve.nm[0], curve.nm[-1])
    # With the edges among the nodes, the integral of the linear interpolation is exact.
    nodes = np.union1d(curve.nm, edges)
    integral = cumulative_trapezoid(np.interp(nodes, curve.nm, curve.response), nodes, initial=0.0)
    cells = np.empty(nm.size)
    cells[order] = np.diff(integral[np.searchsorted(nodes, edges)])
    return cells, float(integral[-1])


def _outside(path: Path, curve: Curve, share: float, nm: NDArray[np.float64], fitting: list[Curve]) -> str:
    centre = float(np.average(curve.nm, weights=curve.response))
    message = (
        f"Band {curve.name} of {path} (around {centre:.0f} nm) lies outside the cube's "
        f"{nm.min():g} to {nm.max():g} nm: {share:.0%} of its response is inside, expected {_LEAST_SHARE:.0%} or more."
    )
    if not fitting:
        return f"{message} No band of this table fits the cube; use another sensor."
    keys = ",".join(other.key for other in fitting)
    return f"{message} Select bands inside, by name or number: set degradation.srf to {path}#{keys}"
