"""Make a scene of cubes in files: check that they fit, and choose what is kept of large ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import DataError
from hsipipe.formats import open_cube
from hsipipe.formats.georeference import crs_of, transform_of
from hsipipe.progress import progress
from hsipipe.viewer.components import compress, fine_step
from hsipipe.viewer.maps import angle_map, error_map
from hsipipe.viewer.page import PAGE_BYTES, write_page
from hsipipe.viewer.scene import TINTS, Layer, Map, Scene

MOST_PIXELS = 1 << 18
"""Most pixels of a cube in a page: 512 x 512."""
FINENESS = (512, 256, 128)
"""Steps in the range of a cube; the next one is tried if the page is too large."""
_FAR = 50.0
"""Ratio of the values of two cubes from which their units differ."""
_TOLERANCE = 0.5
"""Largest distance of corners in pixels of the coarser cube."""
_COARSEST = 64


@dataclass(frozen=True, eq=False)
class OpenCube:
    """An opened cube.

    Attributes:
        name: Its name in the page.
        path: Its file.
        cube: Its lazy values (band, y, x).
    """

    name: str
    path: Path
    cube: xr.DataArray

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.cube.sizes["y"], self.cube.sizes["x"]

    @property
    def wavelength_nm(self) -> NDArray[np.float64] | None:
        """Band centres (C,), or None."""
        known = "wavelength_nm" in self.cube.coords
        return np.asarray(self.cube["wavelength_nm"].to_numpy(), np.float64) if known else None


def view_files(
    paths: Sequence[Path],
    *,
    truth: Path | None = None,
    variable: str | None = None,
    most_bytes: int = PAGE_BYTES,
) -> str:
    """Return a page that shows cubes of the same ground.

    A page that would be too large keeps coarser values, then only each n-th pixel, and says so.

    Args:
        paths: The cubes.
        truth: The truth, on the grid of the largest cube.
        variable: Array to read, if a file contains several.
        most_bytes: Largest size of the page.

    Raises:
        DataError: The cubes do not fit together; the message names the two.
        HsipipeError: A file is missing or cannot be read.
    """
    cubes = _open_all([*paths, *([truth] if truth else [])], variable)
    grid = _check(cubes, has_truth=truth is not None)
    every = max(1, math.ceil(math.sqrt(math.prod(grid) / MOST_PIXELS)))
    while every <= _COARSEST:
        values = {entry.name: _read(entry, grid, every) for entry in cubes}
        for parts in FINENESS:
            page = write_page(_scene(cubes, values, has_truth=truth is not None, every=every, parts=parts, grid=grid))
            if len(page.encode()) <= most_bytes:
                return page
        every += 1
    raise DataError(f"{len(cubes)} cubes do not fit into a page of {most_bytes / 1e6:g} MB; show fewer at a time.")


def _open_all(paths: Sequence[Path], variable: str | None) -> list[OpenCube]:
    names: list[str] = []
    for path in paths:
        name = path.stem or path.name
        names.append(name if name not in names else path.name if path.name not in names else str(path))
    if len({path.resolve() for path in paths}) < len(paths):
        raise DataError("A cube is named twice, expected different files; name each once, and the truth as --truth.")
    with progress("open", len(paths)) as advance:
        found = []
        for name, path in zip(names, paths, strict=True):
            found.append(OpenCube(name, path, open_cube(path, variable=variable)))
            advance(note=name)
    return found


def _check(cubes: Sequence[OpenCube], *, has_truth: bool) -> tuple[int, int]:
    """Return rows and columns of the finest cube, after checks of sizes, positions and bands."""
    finest = max(cubes, key=lambda entry: math.prod(entry.size))
    truth = cubes[-1] if has_truth else None
    if truth is not None and truth.size != finest.size:
        raise DataError(
            f"{truth.path} has {_extent(truth)} pixels and {finest.path} {_extent(finest)}: the truth must have the "
            "finest grid; crop both to the same ground."
        )
    for entry in cubes:
        (height, width), (rows, columns) = finest.size, entry.size
        if height % rows or width % columns or height // rows != width // columns:
            raise DataError(
                f"{entry.path} has {_extent(entry)} pixels and {finest.path} {_extent(finest)}: expected the same "
                "ground at a whole ratio of pixel sizes, equal in both directions; crop both to the same ground."
            )
        _check_position(entry, finest)
    with_nm = [entry for entry in cubes if entry.wavelength_nm is not None]
    sizes = {len(entry.cube) for entry in cubes}
    if len(sizes) > 1 and len(with_nm) < len(cubes):
        unknown = next(entry for entry in cubes if entry.wavelength_nm is None)
        raise DataError(
            f"{unknown.path} has {len(unknown.cube)} bands of unknown wavelengths, and another cube "
            f"{next(len(entry.cube) for entry in cubes if len(entry.cube) != len(unknown.cube))}: expected equal "
            "numbers of bands, or wavelengths in every file."
        )
    return finest.size


def _extent(entry: OpenCube) -> str:
    return " x ".join(map(str, entry.size))


def _check_position(entry: OpenCube, finest: OpenCube) -> None:
    here, there = transform_of(entry.cube), transform_of(finest.cube)
    systems = crs_of(entry.cube), crs_of(finest.cube)
    if here is None or there is None or None in systems:
        return
    hint = "show cubes of the same ground"
    if systems[0] != systems[1]:
        raise DataError(f"{entry.path} and {finest.path} have different coordinate systems; {hint}, warped to one.")
    rows, columns = entry.size
    ratio = finest.size[0] / rows
    corners = ((0, 0), (columns, 0), (0, rows), (columns, rows))
    apart = max(
        float(np.abs(np.subtract(~there @ (here @ (x, y)), (x * ratio, y * ratio))).max()) / ratio for x, y in corners
    )
    if not apart <= _TOLERANCE + 1e-6:
        raise DataError(
            f"{entry.path} and {finest.path} lie up to {apart:.4g} pixels of the coarser one apart, expected at most "
            f"{_TOLERANCE:g}; {hint}."
        )


def _read(entry: OpenCube, grid: tuple[int, int], every: int) -> NDArray[np.float32]:
    """Read the values (C, h, w) that are shown: all, or each n-th row and column of the finest grid."""
    kept = [_kept(own, full, every) for own, full in zip(entry.size, grid, strict=True)]
    whole = all(len(some) == own for some, own in zip(kept, entry.size, strict=True))
    cube = entry.cube if whole else entry.cube.isel(y=kept[0], x=kept[1])
    return np.array(cube.to_numpy(), np.float32)


def _kept(own: int, full: int, every: int) -> NDArray[np.int64]:
    """Rows of a cube that stand for each n-th row of the finest grid; each once, where that is a regular grid."""
    wanted = np.arange(0, full, every) * own // full
    once = np.unique(wanted)
    regular = len(wanted) % len(once) == 0 and (np.repeat(once, len(wanted) // len(once)) == wanted).all()
    return once if regular else wanted


def _scene(
    cubes: Sequence[OpenCube],
    values: Mapping[str, NDArray[np.float32]],
    *,
    has_truth: bool,
    every: int,
    parts: int,
    grid: tuple[int, int],
) -> Scene:
    truth = cubes[-1] if has_truth else None
    shown = [(entry.name, values[entry.name], entry, _bad_bands(entry, values[entry.name])) for entry in cubes]
    notes: list[str] = []
    baseline: str | None = None
    made = None if truth is None else _interpolated(cubes, values, truth, every)
    if made is not None:
        source, baseline, cube = made
        bad = next(bad for name, _, _, bad in shown if name == source.name)
        after = 1 + next(number for number, (name, *_) in enumerate(shown) if name == source.name)
        shown.insert(after, (baseline, cube, replace(source, name=baseline), bad))
        notes.append(f"{baseline}: its pixels interpolated to the grid of the truth, what a method must beat.")
    if every > 1:
        notes.append(f"The scene has {grid[0]} x {grid[1]} pixels; only each {_nth(every)} row and column is shown.")
    layers, maps = [], []
    _check_units([(entry.path, cube) for _, cube, entry, _ in shown])
    for number, (name, cube, entry, bad) in enumerate(shown):
        good = [band for band in range(len(cube)) if band not in set(bad)]
        if not good or not np.isfinite(cube[good]).all(axis=0).any():
            raise DataError(f"{entry.path} has no pixel with a value in every good band; drop the bands without data.")
        filled = cube.copy()
        filled[bad] = 0
        its_parts = compress(filled, fine_step(cube[good], parts))
        tint = None if entry is truth else TINTS[number % len(TINTS)]
        layers.append(Layer(name, its_parts, entry.wavelength_nm, bad, tint))
        if bad:
            notes.append(f"{name}: {len(bad)} of {len(cube)} bands are bad or empty and not shown.")
        if truth is None or entry is truth:
            continue
        true = values[truth.name]
        if cube.shape == true.shape:
            both = [band for band in good if band not in set(shown[-1][3])]
            maps += [Map("sam", name, angle_map(cube[both], true[both]))]
            maps += [Map("error", name, error_map(cube[both], true[both]))]
            baseline = baseline or name
        elif made is None or entry is not made[0]:
            notes.append(f"{name} has {_shape(cube)}, the truth {_shape(true)}: it is shown and not compared.")
    others = [layer.name for layer in layers if truth is None or layer.name != truth.name]
    best = others[-1] if truth is None or baseline != others[-1] or len(others) < 2 else others[-2]
    return Scene(
        name=" | ".join(entry.name for entry in cubes),
        layers=layers,
        maps=maps,
        truth=truth.name if truth else None,
        baseline=baseline,
        left=others[0] if others else layers[0].name,
        right=best if best != others[0] or truth is None else layers[-1].name,
        every=every,
        notes=notes,
    )


def _shape(cube: NDArray[Any]) -> str:
    return f"{cube.shape[0]} bands of {cube.shape[1]} x {cube.shape[2]}"


def _nth(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _interpolated(
    cubes: Sequence[OpenCube], values: Mapping[str, NDArray[np.float32]], truth: OpenCube, every: int
) -> tuple[OpenCube, str, NDArray[np.float32]] | None:
    """Interpolate the first coarser cube to the grid of the truth: what any method must beat; None where it cannot."""
    for entry in cubes:
        ratio = truth.size[0] // entry.size[0]
        if ratio > 1 and len(entry.cube) == len(truth.cube) and every == 1:
            return entry, f"bicubic of {entry.name}", upsample(values[entry.name], ratio).astype(np.float32)
    return None


def _bad_bands(entry: OpenCube, cube: NDArray[np.float32]) -> list[int]:
    """Bands that the file calls bad, or that hold one value or none; counted from 0."""
    named = [int(band) - 1 for band in np.atleast_1d(entry.cube.attrs.get("bad_bands", [])).astype(int)]
    with np.errstate(invalid="ignore"):
        empty = [
            band
            for band, plane in enumerate(cube)
            if (known := plane[np.isfinite(plane)]).size == 0 or (known.min() == known.max() and len(cube) > 1)
        ]
    return sorted({*(band for band in named if 0 <= band < len(cube)), *empty})


def _check_units(cubes: Sequence[tuple[Path, NDArray[np.float32]]]) -> None:
    """Refuse cubes of other units: on one scale one of them would be black."""
    highs = []
    for path, cube in cubes:
        known = np.abs(cube[np.isfinite(cube)])
        highs.append((float(np.percentile(known, 99)) if known.size else 0.0, path))
    (low, dark), (high, bright) = min(highs), max(highs)
    if high > _FAR * low > 0:
        raise DataError(
            f"{bright} has values up to about {high:.3g} and {dark} up to {low:.3g}: expected the same units; divide "
            "one by its scale factor."
        )
