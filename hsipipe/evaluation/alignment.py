"""Align labelled cubes by their coordinates before their values are compared."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hsipipe.errors import DataError
from hsipipe.formats.georeference import crs_of, is_same_place, transform_of

if TYPE_CHECKING:
    import xarray as xr

Labels = NDArray[Any]

_TOLERANCE = 0.1
"""Largest difference of two equal coordinates in pixels or band steps; float32 holds UTM coordinates to 0.06 m."""
_ADVICE = "bring both to the same grid, or drop the coordinates (drop_vars) to compare by position"


def aligned(
    cube: "NDArray[Any] | xr.DataArray",
    hr: "NDArray[Any] | xr.DataArray",
    role: str,
    *,
    scale: int = 1,
    bands: bool = True,
) -> "NDArray[Any] | xr.DataArray":
    """Return a cube in the order of the rows, columns and bands of the truth.

    Args:
        cube: Cube to align. Without coordinates, or if `hr` has none, it is returned as it is.
        hr: Ground truth.
        role: Name of the cube in messages: "sr", "lr", "msi".
        scale: Ratio of the pixel sizes of `cube` and `hr`.
        bands: The two cubes have the same bands.

    Raises:
        DataError: The cubes lie at other places or have other bands.
    """
    if not (hasattr(cube, "coords") and hasattr(hr, "coords")):
        return cube
    placed: Any = cube
    truth: Any = hr
    _check_crs(placed, truth, role)
    if bands:
        name = next((n for n in ("wavelength_nm", "band") if _is_axis(n, "band", placed, truth)), None)
        if name is not None:
            placed = _in_order(placed, "band", name, role, wanted=truth[name].values)
    sides = [dim for dim in ("y", "x") if _is_axis(dim, dim, placed, truth)]
    for dim in sides:
        placed = _in_order(placed, dim, dim, role, wanted=_coarser(truth[dim].values, scale))
    if len(sides) < 2:
        _check_transform(placed, truth, role, scale)
    _check_planes(placed, truth, role, scale)
    return cast("xr.DataArray", placed)


def _is_axis(name: str, dim: str, *cubes: Any) -> bool:
    return all(name in cube.coords and cube[name].dims == (dim,) for cube in cubes)


def _in_order(cube: Any, dim: str, name: str, role: str, *, wanted: Labels | None) -> Any:
    """Return the cube with the entries of an axis in the order in which the coordinate `name` has the wanted values."""
    found = cube[name].values
    if wanted is None or len(found) != len(wanted) or _agree(found, wanted):
        return cube  # the check of the shapes says more about another length
    order = np.argsort(found, kind="stable")[np.argsort(np.argsort(wanted, kind="stable"), kind="stable")]
    if not _agree(found[order], wanted):
        raise DataError(f"{role} and hr differ in {name}: {_span(found)} against {_span(wanted)}; {_ADVICE}.")
    return cube.isel({dim: order})


def _agree(found: Labels, wanted: Labels) -> bool:
    if found.dtype.kind not in "iuf" or wanted.dtype.kind not in "iuf":
        return bool(np.array_equal(found, wanted))
    steps = np.abs(np.diff(np.sort(wanted.astype(np.float64).ravel())))
    step = float(np.median(steps)) if steps.size else 0.0
    limit = _TOLERANCE * step if step > 0 else 1e-6 * float(np.abs(wanted).max(initial=0.0))
    return bool(np.allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=0.0, atol=limit, equal_nan=True))


def _coarser(axis: Labels, scale: int) -> Labels | None:
    """Return the centres of the larger pixels; None where the scale does not divide, which another check reports."""
    if scale == 1:
        return axis
    if axis.dtype.kind not in "iuf" or len(axis) % scale:
        return None
    return np.asarray(axis.astype(np.float64).reshape(-1, scale).mean(axis=1))


def _check_crs(cube: Any, hr: Any, role: str) -> None:
    one, other = crs_of(cube), crs_of(hr)
    if one is not None and other is not None and one != other:
        raise DataError(f"{role} has the CRS {one}, hr has {other}; reproject one of them, or drop spatial_ref.")


def _check_transform(cube: Any, hr: Any, role: str, scale: int) -> None:
    """Compare the positions of cubes of which one has no y and x, such as that of a rotated image."""
    one, other = transform_of(cube), transform_of(hr)
    if one is None or other is None:
        return
    a, b, left, d, e, top = other[:6]
    other = Affine(a * scale, b * scale, left, d * scale, e * scale, top)
    if not is_same_place(one, other, height=cube.sizes["y"], width=cube.sizes["x"], tolerance=_TOLERANCE):
        raise DataError(
            f"{role} and hr lie at different places: transforms {_words(one)} against {_words(other)}; {_ADVICE}."
        )


def _check_planes(cube: Any, hr: Any, role: str, scale: int) -> None:
    """Compare coordinates with one value per pixel, such as latitudes of a swath."""
    for name, coord in cube.coords.items():
        if set(coord.dims) != {"y", "x"} or name not in hr.coords or set(hr[name].dims) != {"y", "x"}:
            continue
        found, wanted = (np.asarray(c.transpose("y", "x").values, dtype=np.float64) for c in (coord, hr[name]))
        if found.shape != tuple(side // scale for side in wanted.shape):
            continue
        height, width = found.shape
        wanted = wanted[: height * scale, : width * scale].reshape(height, scale, width, scale).mean(axis=(1, 3))
        gaps = np.abs(np.concatenate([np.diff(wanted, axis=axis).ravel() for axis in (0, 1)]))
        step = float(np.median(gaps[np.isfinite(gaps)])) if np.isfinite(gaps).any() else 0.0
        if not np.allclose(found, wanted, rtol=0.0, atol=2 * _TOLERANCE * step, equal_nan=True):
            raise DataError(f"{role} and hr differ in {name}, so they lie at different places; {_ADVICE}.")


def _span(labels: Labels) -> str:
    return f"{labels[0]} to {labels[-1]}" if len(labels) else "none"


def _words(transform: Affine) -> str:
    return "(" + ", ".join(f"{number:g}" for number in transform[:6]) + ")"
