"""Resample an HR-MSI to the grid of its LR-HSI where it does not have a whole number of pixels for each LR pixel.

The HR-MSI moves, since it is smoother on its grid than the LR-HSI, and the result is to lie on a grid that divides that
of the LR-HSI.
"""

import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from hsipipe.formats.georeference import GRID, attach, crs_of, transform_of
from hsipipe.formats.rasters import quietly

logger = logging.getLogger(__name__)

_BLOCK = 512
"""Edge of the blocks that are resampled at a time."""
_NEAREST = 0.5 + 1e-6
"""Largest difference of a ratio from the whole number that takes its place."""
_KERNEL = 2
"""Reach of the cubic kernel in pixels of the coarser of the two grids."""
_LOCAL = "EPSG:3857"
"""Any CRS in metres, for images without a position, which are taken to show the same ground."""


@dataclass(frozen=True)
class _Places:
    """Position of both images: transform and CRS of the LR-HSI, and those of the HR-MSI."""

    coarse: Affine
    crs: Any
    fine: Affine
    fine_crs: Any

    def in_msi(self, x: NDArray[np.float64], y: NDArray[np.float64], grid: Affine) -> NDArray[np.float64]:
        """Return points (2, N) of a grid in the CRS of the LR-HSI as columns and rows of the HR-MSI."""
        from rasterio.warp import transform  # slow to import

        ground = _mapped(grid, x, y)
        if self.crs != self.fine_crs:
            ground = np.asarray(transform(self.crs, self.fine_crs, *ground)[:2])
        return _mapped(~self.fine, *ground)


def _mapped(transform: Affine, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply a transform to points; return them as (2, N)."""
    return np.stack([transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f])


def pixel_ratio(cube: xr.DataArray, msi: xr.DataArray) -> tuple[float, float]:
    """Return the number of pixels of an HR-MSI for each pixel of its LR-HSI, along rows and along columns.

    By their positions, or by their sizes if one of them has none.
    """
    _, height, width = cube.shape
    places = _places(cube, msi)
    corners = places.in_msi(np.array([0.0, width, 0.0]), np.array([0.0, 0.0, height]), places.coarse)
    if not np.isfinite(corners).all():  # a corner that cannot be projected
        return msi.shape[1] / height, msi.shape[2] / width
    top, right, bottom = corners.T
    return math.dist(top, bottom) / height, math.dist(top, right) / width


def on_grid_of(cube: xr.DataArray, msi: xr.DataArray, *, scale: int) -> xr.DataArray:
    """Resample an HR-MSI to s times the rows and columns of its LR-HSI, lazily.

    An HR-MSI of that size is returned as it is, and so is one whose ratio is nearer to another whole number, which the
    checks of a pair refuse. Pixels outside of the HR-MSI are NaN. Interpolation is cubic, over larger pixels with a
    kernel as much wider; pixels without data have no weight.

    Args:
        cube: LR-HSI (C, h, w) as opened.
        msi: HR-MSI (c, H, W) as opened.
        scale: Ratio s.
    """
    _, height, width = cube.shape
    size = (scale * height, scale * width)
    rows, columns = pixel_ratio(cube, msi)
    is_nearest = max(abs(rows - scale), abs(columns - scale)) <= _NEAREST
    if msi.shape[1:] == size or not is_nearest or not _shares_ground(cube, msi):
        return msi
    logger.info(
        "The HR-MSI of %d x %d pixels has %.4g x %.4g for each pixel of the LR-HSI; it is resampled to %d x %d.",
        *msi.shape[1:], rows, columns, scale, scale,
    )  # fmt: skip
    places = _places(cube, msi)
    target = places.coarse @ Affine.scale(1 / scale)
    chunks = da.core.normalize_chunks((len(msi), _BLOCK, _BLOCK), shape=(len(msi), *size))
    plain = msi.reset_coords(drop=True).drop_vars(msi.dims, errors="ignore")
    block = partial(_resampled, plain, places, target, (rows / scale, columns / scale))
    values = da.map_blocks(block, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    kept = {name: entry for name, entry in msi.coords.items() if set(entry.dims) <= {"band"} and name != GRID}
    made = xr.DataArray(values, dims=("band", "y", "x"), name=msi.name, coords=kept, attrs=msi.attrs)
    if crs_of(cube) is None or transform_of(cube) is None:
        return made
    return attach(made, crs=crs_of(cube), transform=target)


def _resampled(
    msi: xr.DataArray, places: _Places, target: Affine, steps: tuple[float, float], block_info: Any = None
) -> NDArray[np.float32]:
    """Resample one block, from the part of the HR-MSI below it."""
    from rasterio.warp import Resampling, reproject  # slow to import

    _, (y0, y1), (x0, x1) = block_info[None]["array-location"]
    grid = target @ Affine.translation(x0, y0)
    made = np.full((len(msi), y1 - y0, x1 - x0), np.nan, np.float32)
    rows, columns = _below(msi, places, grid, made.shape[1:], steps)
    part = msi[:, rows, columns].compute(scheduler="synchronous")  # this is a task itself
    source = np.ascontiguousarray(part.to_numpy(), dtype=np.float32)
    if source.size and np.isfinite(source).any():
        with quietly():
            reproject(
                source,
                made,
                src_transform=places.fine @ Affine.translation(columns.start, rows.start),
                src_crs=places.fine_crs,
                dst_transform=grid,
                dst_crs=places.crs,
                src_nodata=np.nan,
                dst_nodata=np.nan,
                resampling=Resampling.cubic,
                # GDAL would take them from the sizes of the two windows, which the margin changes.
                XSCALE=min(1.0, 1 / steps[1]),
                YSCALE=min(1.0, 1 / steps[0]),
            )
    return made


def _below(
    msi: xr.DataArray, places: _Places, grid: Affine, size: tuple[int, ...], steps: tuple[float, float]
) -> tuple[slice, slice]:
    """Return the rows and columns of the HR-MSI that a block depends on."""
    y, x = (np.linspace(0, length, 9) for length in size)
    edges = np.meshgrid(x, y)
    columns, rows = places.in_msi(edges[0].ravel(), edges[1].ravel(), grid)
    spans = []
    for place, step, length in zip((rows, columns), steps, msi.shape[1:], strict=True):
        margin = math.ceil((_KERNEL + 1) * max(1.0, step)) + 1
        first, last = math.floor(place.min()) - margin, math.ceil(place.max()) + margin
        start = min(max(first, 0), length)
        spans.append(slice(start, max(start, min(last, length))))
    return spans[0], spans[1]


def _shares_ground(cube: xr.DataArray, msi: xr.DataArray) -> bool:
    """Return True if the two images overlap; those without a position, if one ratio explains their sizes."""
    _, height, width = cube.shape
    if _have_positions(cube, msi):
        places = _places(cube, msi)
        x, y = np.array([0.0, width, 0.0, width]), np.array([0.0, 0.0, height, height])
        columns, rows = places.in_msi(x, y, places.coarse)
        return bool(rows.min() < msi.shape[1] and rows.max() > 0 and columns.min() < msi.shape[2] and columns.max() > 0)
    # Each size is a ratio times that of the LR-HSI, rounded.
    low = [(size - 0.5) / length for size, length in zip(msi.shape[1:], (height, width), strict=True)]
    high = [(size + 0.5) / length for size, length in zip(msi.shape[1:], (height, width), strict=True)]
    return max(low) < min(high)


def _have_positions(*cubes: xr.DataArray) -> bool:
    return all(crs_of(cube) is not None and transform_of(cube) is not None for cube in cubes)


def _places(cube: xr.DataArray, msi: xr.DataArray) -> _Places:
    """Return the positions of both images, or such ones that they show the same ground."""
    coarse, fine = transform_of(cube), transform_of(msi)
    if coarse is not None and fine is not None and _have_positions(cube, msi):
        return _Places(coarse, crs_of(cube), fine, crs_of(msi))
    (_, height, width), (_, rows, columns) = cube.shape, msi.shape
    return _Places(Affine.identity(), _LOCAL, Affine.scale(width / columns, height / rows), _LOCAL)
