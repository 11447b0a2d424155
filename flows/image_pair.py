"""An LR-HSI and an HR-MSI out of two files: whether they belong together, and what their fusion is worth."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from hsipipe.degradation.estimate import estimate_psf
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.degradation.registration import pair_warnings
from hsipipe.errors import DataError
from hsipipe.formats import open_cube
from hsipipe.formats.georeference import crs_of, transform_of
from hsipipe.models.base import SuperResolver, check_msi
from hsipipe.models.fusion import FusionModel

PLAUSIBLE = 4.0
"""Largest input value that is still taken for a reflectance; a bright glint is above 1."""
TOLERANCE = 0.5
"""How far in HR pixels the corners of the two images may lie apart; files round their coordinates."""


_SUSPICIOUS = 1.2
"""Width of an estimated PSF in LR pixels beyond which the search went on because nothing fitted."""


class MsiFile(NamedTuple):
    """Where the HR-MSI is, and how it is read.

    Attributes:
        path: Of any supported format.
        full_scale: Value that means 1.0.
        variable: Array to read, if the file holds several.
    """

    path: Path
    full_scale: float = 1.0
    variable: str | None = None


def scaled(cube: xr.DataArray, path: Path, *, full_scale: float, option: str) -> NDArray[np.float32]:
    """The values (band, y, x) with 1.0 as the full range.

    Args:
        cube: As it was opened.
        path: Where it is from, for the message.
        full_scale: Value that means 1.0.
        option: What says so at the command line, for the message.

    Raises:
        DataError: The values are out of the range that models are made for.
    """
    values = np.ascontiguousarray(cube.to_numpy() / np.float32(full_scale), dtype=np.float32)
    if np.nanmax(values, initial=0.0) > PLAUSIBLE:
        raise DataError(
            f"{path} has values up to {np.nanmax(values):g}, expected 1.0 as the full range; "
            f"say which value means 1.0, for example {option} 10000."
        )
    return values


def read_msi(
    file: MsiFile, cube: xr.DataArray, lr: NDArray[np.float32], *, model: SuperResolver
) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
    """The HR-MSI (c, H, W) float32 of an LR-HSI, and the centres of its bands (c,) where the file says them.

    Args:
        file: The HR-MSI.
        cube: The LR-HSI as it was opened, for its position.
        lr: Its values (C, h, w).
        model: What fuses the two.

    Raises:
        DataError: Their positions do not agree, or the values are out of range.
        ModelInputError: Extent, ratio or number of bands are not the model's.
        HsipipeError: The file is missing or cannot be read.
    """
    msi = open_cube(file.path, variable=file.variable, bands=model.msi_bands or None)
    check_positions(cube, msi)
    values = scaled(msi, file.path, full_scale=file.full_scale, option="--msi-full-scale")
    known = "wavelength_nm" in msi.coords
    centres = np.asarray(msi["wavelength_nm"].to_numpy(), dtype=np.float64) if known else None
    return check_msi(values[None], lr[None], scale=model.scale, bands=model.msi_bands)[0], centres


def check_positions(lr: xr.DataArray, msi: xr.DataArray) -> None:
    """Check that two cubes cover the same ground, corner by corner, where both know theirs.

    Args:
        lr: LR-HSI (band, y, x).
        msi: HR-MSI (band, y, x).

    Raises:
        DataError: A corner differs by more than half an HR pixel; the message has both extents.
    """
    crs, other = crs_of(lr), crs_of(msi)
    coarse, fine = transform_of(lr), transform_of(msi)
    if crs is None or other is None or coarse is None or fine is None:
        return
    corners, expected = _corners(lr, coarse), _corners(msi, Affine.identity())
    if crs != other:
        corners = _reprojected(corners, crs, other)
    apart = float(np.abs(np.subtract([~fine @ corner for corner in corners], expected)).max())
    if not apart <= TOLERANCE + 1e-6:  # of a corner that cannot be projected, it is no number
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
    """What a person should know of the pair before its fusion is trusted, a sentence each.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes, s.
        psf: Of the LR sensor, where the model knows it.
        response: Spectral response (c, C), where the model knows it.
        msi_wavelength_nm: Centres of the MSI's bands (c,), where its file says them.
    """
    if psf is None:  # what the LR sensor would have seen of the HR-MSI is not known
        return []
    return pair_warnings(lr, msi, scale=scale, psf=psf, response=response, wavelength_nm=msi_wavelength_nm)


def for_this_pair(model: FusionModel, lr: NDArray[np.float32], msi: NDArray[np.float32]) -> FusionModel:
    """The model with both sensors as the pair itself tells them, which is said at the terminal.

    Args:
        model: Of the pair's ratio.
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
    """
    psf = estimate_psf(lr, msi, scale=model.scale)
    if (psf.width(model.scale) or 0) > _SUSPICIOUS * model.scale:
        print(
            "warning: no PSF of a likely width explains the pair; do both images show the same ground?",
            file=sys.stderr,
        )
    print(
        f"note: estimated from the pair, the PSF is {psf.describe(model.scale)}; so is the spectral response.",
        file=sys.stderr,
    )
    return model.with_sensors(psf=psf, response="estimated")


def quality_note(
    sr: NDArray[np.float32], lr: NDArray[np.float32], msi: NDArray[np.float32], *, scale: int, psf: Psf | None
) -> str:
    """What can be said of a fusion without its ground truth, in a sentence.

    Args:
        sr: Prediction (C, H, W).
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes, s.
        psf: Of the LR sensor; None: unknown, and D_s takes a bicubic reduction.
    """
    from hsipipe.evaluation.fusion_metrics import without_truth
    from hsipipe.evaluation.metrics import consistency_psnr_db  # brings scikit-image with it

    values = without_truth(sr, lr, msi, scale=scale, psf=psf or BICUBIC)
    indices = f"D_lambda {values['d_lambda']:.4f} and D_s {values['d_s']:.4f} (0 is best), QNR {values['qnr']:.4f}"
    if psf is None:
        return f"{indices} (1 is best), with a bicubic reduction, since the model knows no PSF."
    psnr = consistency_psnr_db(sr, lr, hr=sr, scale=scale, psf=psf)
    return f"degraded, the prediction has a PSNR of {psnr:.2f} dB against the LR-HSI; {indices} (1 is best)."


def psf_of(model: SuperResolver) -> Psf | None:
    """The PSF of the LR sensor that a model was made for, where it knows it."""
    psf = getattr(model, "psf", None)
    return psf if isinstance(psf, Psf) else None


def response_of(
    model: SuperResolver, lr: NDArray[np.float32], msi: NDArray[np.float32]
) -> NDArray[np.floating[Any]] | None:
    """The spectral response (c, C) that a model works with, where it is not the pair that tells it."""
    if not isinstance(model, FusionModel) or model.pairing.response == "estimated":
        return None
    known: NDArray[np.floating[Any]] = model.response.cpu().numpy()
    return known if known.shape == (len(msi), len(lr)) else None


_Point = tuple[float, float]


def _corners(cube: xr.DataArray, transform: Affine) -> list[_Point]:
    height, width = cube.sizes["y"], cube.sizes["x"]
    return [transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]


def _reprojected(points: list[_Point], crs: Any, other: Any) -> list[_Point]:
    from rasterio.warp import transform  # takes a while

    x, y = transform(crs, other, *zip(*points, strict=True))[:2]
    return list(zip(x, y, strict=True))


def _bounds(corners: list[_Point]) -> tuple[float, float, float, float]:
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


def _extent(corners: list[_Point], crs: Any) -> str:
    left, bottom, right, top = _bounds(corners)
    return f"x {left:.10g} to {right:.10g} and y {bottom:.10g} to {top:.10g} ({crs.to_string()})"
