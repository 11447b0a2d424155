"""Resolve the spectral overlap of two detectors: choose, average or keep their bands.

``detector`` is a coordinate of band with the name of the detector that measured each band, ``vnir`` or ``swir``.
"""

from typing import Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import ParamsError
from hsipipe.formats.band_facts import BAD_BANDS, DETECTOR, FWHM_NM, GOOD_BAND

Overlap = Literal["keep", "swir", "vnir", "average"]
OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)
VNIR, SWIR, BOTH = "vnir", "swir", "vnir+swir"
APPLIED = "applied"
"""Key of ``cube.encoding``: what was applied to the stored values, one sentence each."""


def check_overlap(overlap: str) -> None:
    """Check the name of a treatment.

    Raises:
        ParamsError: The name is unknown.
    """
    if overlap not in OVERLAPS:
        raise ParamsError(f"overlap is {overlap!r}, expected one of {', '.join(OVERLAPS)}.")


def resolve_overlap(cube: xr.DataArray, overlap: Overlap) -> xr.DataArray:
    """Resolve the overlap of the detectors of a cube; lazy if the cube is.

    The overlap reaches from the shortest good SWIR band to the longest good VNIR band. Where the good bands do not
    overlap, bad ones may.

    Args:
        cube: Cube (band, y, x). Without wavelengths and two detectors, it is returned as it is.
        overlap: ``keep``: all bands, by wavelength. ``swir`` and ``vnir``: the bands of that detector. ``average``:
            the mean of the SWIR band and the VNIR bands, interpolated linearly to its centre, where both are good.

    Returns:
        The cube, by ascending wavelength unless nothing changes.
    """
    if DETECTOR not in cube.coords or "wavelength_nm" not in cube.coords:
        return cube
    nm, detector = cube["wavelength_nm"].values, cube[DETECTOR].values.astype(str)
    good = cube[GOOD_BAND].values.astype(bool) if GOOD_BAND in cube.coords else np.ones(len(nm), bool)
    vnir, swir = detector == VNIR, detector == SWIR
    if not (vnir.any() and swir.any() and (vnir | swir).all() and np.isfinite(nm).all()):
        return cube
    first = nm[swir & good].min() if (swir & good).any() else nm[swir].min()
    last = nm[vnir & good].max() if (vnir & good).any() else nm[vnir].max()
    inside = (vnir & (nm >= first)) | (swir & (nm <= last))
    if not inside.any():
        return cube
    encoding = dict(cube.encoding)
    span = f"VNIR and SWIR overlap from {first:g} to {last:g} nm" if first <= last else "bad bands overlap"
    if overlap == "keep":
        told = f"{span}: all {int(inside.sum())} bands are kept, by wavelength"
    else:
        uses_vnir = nm <= last if overlap == "vnir" else nm < first
        kept = np.where(vnir, uses_vnir, ~uses_vnir)
        dropped = int((~kept).sum())
        if overlap == "average":
            cube, averaged = _averaged(cube, nm, vnir & good, swir & good & (nm <= last))
            told = f"{span}: {averaged} SWIR bands are the mean of both detectors, {dropped} other bands are dropped"
        else:
            told = f"{span}: {overlap.upper()} is used, {dropped} bands of the other detector are dropped"
        cube = cube.isel(band=np.flatnonzero(kept)[np.argsort(nm[kept], kind="stable")])
        cube = with_good_listed(cube)
    cube.encoding = {**encoding, APPLIED: [*encoding.get(APPLIED, []), told]}
    return cube


def with_good_listed(cube: xr.DataArray) -> xr.DataArray:
    """Make the attribute ``bad_bands`` agree with the coordinate ``good_band``."""
    if GOOD_BAND not in cube.coords or BAD_BANDS not in cube.attrs:
        return cube
    bad = np.flatnonzero(~cube[GOOD_BAND].values.astype(bool)) + 1
    return cube.assign_attrs({BAD_BANDS: bad.tolist()})


def _averaged(
    cube: xr.DataArray, nm: NDArray[np.float64], vnir: NDArray[np.bool_], swir: NDArray[np.bool_]
) -> tuple[xr.DataArray, int]:
    """Replace SWIR bands by the mean of both detectors; return also how many."""
    sources = np.flatnonzero(vnir)[np.argsort(nm[vnir], kind="stable")]
    targets = [band for band in np.flatnonzero(swir).tolist() if len(sources) > 1 and nm[sources[0]] <= nm[band]]
    if not targets:
        return cube, 0
    right = np.clip(np.searchsorted(nm[sources], nm[targets]), 1, len(sources) - 1)
    low, high = sources[right - 1], sources[right]
    share = (nm[targets] - nm[low]) / (nm[high] - nm[low])
    weight = xr.DataArray(share.astype(np.float32), dims="band")
    bare = cube.variable.to_base_variable()
    parts = [xr.DataArray(bare.isel(band=bands)) for bands in (targets, low, high)]
    mean = (parts[0] + parts[1] * (1 - weight) + parts[2] * weight) / 2
    place = {band: k for k, band in enumerate(targets)}
    order = [len(nm) + place[band] if band in place else band for band in range(len(nm))]
    both = xr.concat([xr.DataArray(bare), mean.astype(bare.dtype)], dim="band").isel(band=order)
    made = cube.copy(data=both.data)
    detector = cube[DETECTOR].values.astype(f"<U{len(BOTH)}")
    detector[targets] = BOTH
    made = made.assign_coords({DETECTOR: ("band", detector, cube[DETECTOR].attrs)})
    if FWHM_NM in cube.coords:
        width = cube[FWHM_NM].values.copy()
        width[targets] = (width[targets] + width[low] * (1 - share) + width[high] * share) / 2
        made = made.assign_coords({FWHM_NM: ("band", width, cube[FWHM_NM].attrs)})
    return made, len(targets)
