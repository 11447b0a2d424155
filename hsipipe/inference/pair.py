"""Read the HR-MSI of an LR-HSI and check that the two images match."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from hsipipe.degradation.psf import Psf
from hsipipe.degradation.registration import pair_warnings
from hsipipe.degradation.shift_field import ShiftField, align, align_mask, estimate_field
from hsipipe.errors import DataError
from hsipipe.formats import open_cube
from hsipipe.formats.georeference import crs_of, transform_of
from hsipipe.inference.holes import Mask, fill_holes
from hsipipe.inference.msi_grid import on_grid_of
from hsipipe.inference.source import SceneSource, survey
from hsipipe.inference.values import scaled
from hsipipe.inference.wording import COMMAND, Wording
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.posterior.fusion import FusionPosterior
from hsipipe.methods.super_resolver import SceneImage, SuperResolver, check_msi, check_pair

TOLERANCE = 0.5
"""Largest distance of the corners of the two images in HR pixels; files round their coordinates."""


class MsiFile(NamedTuple):
    """File of the HR-MSI and how to read it.

    Attributes:
        path: File of any supported format.
        full_scale: Value that maps to 1.0.
        variable: Name of the array to read, if the file holds several.
    """

    path: Path
    full_scale: float = 1.0
    variable: str | None = None


def read_msi(
    file: MsiFile,
    cube: xr.DataArray,
    lr: NDArray[np.float32],
    *,
    model: SuperResolver,
    wording: Wording,
    admit: Callable[[xr.DataArray, int], None],
) -> tuple[NDArray[np.float32], Mask | None, NDArray[np.float64] | None]:
    """Read the HR-MSI (c, H, W) float32 of an LR-HSI, its pixels without data, and its centre wavelengths in nm (c,).

    Pixels without data are filled. The other two results are None where there are none.

    Args:
        file: HR-MSI.
        cube: LR-HSI as opened, for its position.
        lr: Values of the LR-HSI (C, h, w).
        model: Fusion model.
        wording: Spelling of the caller's settings in messages.
        admit: Called with the opened HR-MSI and 1 before its values are read; it raises an error to refuse a cube that
            is too large.

    Raises:
        DataError: The positions differ, or the values are out of range.
        ModelInputError: Extent, ratio or number of bands do not match the model.
        HsipipeError: The file is missing or cannot be read.
    """
    msi = _open(file, cube, model=model)
    admit(msi, 1)
    check_positions(cube, msi)
    example = wording.given("msi_full_scale", 10000)
    values, holes = fill_holes(scaled(msi, file.path, full_scale=file.full_scale, example=example), file.path)
    high = check_msi(values[None], lr[None], scale=model.scale, bands=model.msi_bands)[0]
    return high, holes, centres_of(msi)


def open_msi(file: MsiFile, cube: xr.DataArray, *, model: SuperResolver) -> SceneSource:
    """Open the HR-MSI of an LR-HSI to be read window by window, after a pass over its values.

    Args:
        file: HR-MSI.
        cube: LR-HSI as opened.
        model: Fusion model.

    Raises:
        DataError: The positions differ, or the values are out of range.
        ModelInputError: Extent, ratio or number of bands do not match the model.
        HsipipeError: The file is missing or cannot be read.
    """
    msi = _open(file, cube, model=model)
    check_positions(cube, msi)
    check_pair((1, *msi.shape), (1, *cube.shape), scale=model.scale, bands=model.msi_bands)
    return survey(msi, file.path, full_scale=file.full_scale, example=COMMAND.given("msi_full_scale", 10000))


def _open(file: MsiFile, cube: xr.DataArray, *, model: SuperResolver) -> xr.DataArray:
    """Open an HR-MSI on a grid that divides that of its LR-HSI."""
    msi = open_cube(file.path, variable=file.variable, bands=model.msi_bands or None)
    return on_grid_of(cube, msi, scale=model.scale)


def centres_of(msi: xr.DataArray) -> NDArray[np.float64] | None:
    """Return the centre wavelengths of the bands in nm (c,), if they are known."""
    known = "wavelength_nm" in msi.coords
    return np.asarray(msi["wavelength_nm"].to_numpy(), dtype=np.float64) if known else None


def register(
    lr: NDArray[np.float32], msi: NDArray[np.float32], holes: Mask | None, *, scale: int, psf: Psf
) -> tuple[NDArray[np.float32], Mask | None, ShiftField]:
    """Measure the shifts of an HR-MSI and remove them by one resampling.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        holes: Its pixels (H, W) without data.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.

    Returns:
        The aligned HR-MSI; its pixels without data, with those that lay outside of the image; and the field.

    Raises:
        DataError: The images have no common texture.
    """
    field = estimate_field(lr, msi, scale=scale, psf=psf)
    outside = field.outside()
    moved = outside if holes is None else outside | align_mask(holes, field)
    return align(msi, field), moved if moved.any() else None, field


def check_positions(lr: xr.DataArray, msi: xr.DataArray) -> None:
    """Check that two georeferenced cubes cover the same area by comparing their corners.

    Args:
        lr: LR-HSI (band, y, x).
        msi: HR-MSI (band, y, x).

    Raises:
        DataError: A corner differs by more than half an HR pixel; the message gives both extents.
    """
    crs, other = crs_of(lr), crs_of(msi)
    coarse, fine = transform_of(lr), transform_of(msi)
    if crs is None or other is None or coarse is None or fine is None:
        return
    corners, expected = _corners(lr, coarse), _corners(msi, Affine.identity())
    if crs != other:
        corners = _reprojected(corners, crs, other)
    apart = float(np.abs(np.subtract([~fine @ corner for corner in corners], expected)).max())
    if not apart <= TOLERANCE + 1e-6:  # NaN for a corner that cannot be projected
        left, bottom, right, top = _bounds(corners)
        raise DataError(
            f"The LR-HSI covers {_extent(_corners(lr, coarse), crs)}, the HR-MSI "
            f"{_extent(_corners(msi, fine), other)}: their corners lie up to {apart:.4g} HR pixels apart, expected at "
            f"most {TOLERANCE:g}. Bring both to the same ground with rows and columns in the same direction, for "
            "example the HR-MSI by "
            f"gdalwarp -te {left:.10g} {bottom:.10g} {right:.10g} {top:.10g}."
        )


def pair_notes(
    lr: NDArray[np.float32],
    msi: NDArray[np.float32],
    *,
    scale: int,
    psf: Psf | None,
    response: NDArray[Any] | None,
    msi_wavelength_nm: NDArray[Any] | None = None,
) -> list[str]:
    """Compare the two images and return warnings about the pair, one sentence each.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor, if the model has one; without it the pair is not checked.
        response: Spectral response (c, C), if the model has one.
        msi_wavelength_nm: Centre wavelengths of the MSI bands in nm (c,), if its file has them.
    """
    if psf is None:  # the HR-MSI cannot be degraded to the LR grid
        return []
    return pair_warnings(lr, msi, scale=scale, psf=psf, response=response, wavelength_nm=msi_wavelength_nm)


def psf_of(model: SuperResolver) -> Psf | None:
    """Return the PSF of the LR sensor that a model was trained for, or None."""
    psf = getattr(model, "psf", None)
    return psf if isinstance(psf, Psf) else None


def response_of(model: SuperResolver, lr: SceneImage, msi: SceneImage) -> NDArray[np.floating[Any]] | None:
    """Return the spectral response (c, C) of a model, or None if it is estimated from the pair."""
    model = model.mean if isinstance(model, FusionPosterior) else model
    if not isinstance(model, FusionModel) or model.pairing.response == "estimated":
        return None
    known: NDArray[np.floating[Any]] = model.response.cpu().numpy()
    return known if known.shape == (msi.shape[0], lr.shape[0]) else None


_Point = tuple[float, float]


def _corners(cube: xr.DataArray, transform: Affine) -> list[_Point]:
    height, width = cube.sizes["y"], cube.sizes["x"]
    return [transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]


def _reprojected(points: list[_Point], crs: Any, other: Any) -> list[_Point]:
    from rasterio.warp import transform  # slow to import

    x, y = transform(crs, other, *zip(*points, strict=True))[:2]
    return list(zip(x, y, strict=True))


def _bounds(corners: list[_Point]) -> tuple[float, float, float, float]:
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


def _extent(corners: list[_Point], crs: Any) -> str:
    left, bottom, right, top = _bounds(corners)
    return f"x {left:.10g} to {right:.10g} and y {bottom:.10g} to {top:.10g} ({crs.to_string()})"
