"""`hsipipe.degrade`: simulate a sensor with larger pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import xarray as xr
from dask.base import is_dask_collection
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from hsipipe.bands import band_label
from hsipipe.degradation.noise import add_noise, band_power, check_snr
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.errors import DataError, ParamsError
from hsipipe.formats.regrid import coarsen

if TYPE_CHECKING:
    import dask.array as da

Cube = TypeVar("Cube", xr.DataArray, NDArray[Any], "da.Array")
Check = Callable[[NDArray[Any], tuple[int, ...]], None]


@dataclass(frozen=True)
class _Sensor:
    scale: int
    psf: Psf
    snr_db: float | None
    seed: int


def degrade(
    cube: Cube, scale: int = 4, *, psf: Psf | str = BICUBIC, snr_db: float | None = None, seed: int = 0
) -> Cube:
    """Degrade a cube to larger pixels, with MATLAB's imresize (antialiased bicubic) or the PSF and noise of a sensor.

    At scale 1 the pixels keep their size, and the degradation is a Gaussian PSF, noise, or both.

    Args:
        cube: DataArray with dims y and x, or an array (..., H, W) of NumPy or Dask.
        scale: Ratio of the pixel sizes s, 1 or more.
        psf: Point spread function of the sensor, or one of the names ``"bicubic"``, ``"average"`` and, at scale 1,
            ``"none"``.
        snr_db: Signal-to-noise ratio of each band in dB; None: no noise.
        seed: Seed of the noise.

    Returns:
        A cube of the same type, H/s x W/s. A DataArray keeps its band coordinates and attributes; its coordinates y
        and x become the centres of the larger pixels, and ``gsd_m`` is multiplied by s. A Dask array stays lazy, and
        its values are checked during the computation.

    Raises:
        DataError: The scale is no whole number or does not divide height or width, the cube has NaN or no real
            numbers, or dims y and x are missing.
        ParamsError: The PSF is unknown or does not fit the scale, `snr_db` or `seed` is invalid, or the degradation at
            scale 1 changes nothing.
    """
    sensor = _sensor(check_scale(scale), psf, snr_db=snr_db, seed=seed)
    if isinstance(cube, xr.DataArray):
        return _degrade_labelled(cube, sensor)
    values: Any = cube if is_dask_collection(cube) else np.asarray(cube)
    low: Cube = _degrade_values(values, sensor, band_axis=values.ndim - 3 if values.ndim > 2 else None)
    return low


def check_scale(scale: object) -> int:
    """Return a ratio of pixel sizes s as an int; ``4.0`` and the numbers of NumPy are whole numbers, too.

    Raises:
        DataError: The value is no whole number of 1 or more.
    """
    if not isinstance(scale, bool) and isinstance(scale, Real):
        number = int(scale) if isinstance(scale, Integral) else float(scale)
        if number >= 1 and number % 1 == 0:  # inf % 1 is NaN
            return int(number)
    raise DataError(f"scale must be a whole number of 1 or more, the ratio of the pixel sizes, got {scale!r}.")


def _sensor(scale: int, psf: object, *, snr_db: object, seed: object) -> _Sensor:
    if isinstance(psf, str):
        psf = {"bicubic": BICUBIC, "average": Psf("average"), "none": Psf("none")}.get(psf, psf)
    if not isinstance(psf, Psf):
        raise ParamsError(
            f"psf must be 'bicubic', 'average', 'none' or a hsipipe.degradation.psf.Psf, got {psf!r}; "
            "a Gaussian is Psf('gaussian', sigma=2.0) or Psf('gaussian', mtf=0.3)."
        )
    psf.check(scale)
    check_snr("snr_db", snr_db)
    if snr_db is None and not psf.changes(scale):
        raise ParamsError(
            f"At scale {scale} without noise this PSF ({psf.kind}) changes nothing; give snr_db, a scale of 2 or more, "
            "or a blur such as Psf('gaussian', sigma=1.5)."
        )
    if not (isinstance(seed, Integral) and int(seed) >= 0):
        raise ParamsError(f"seed must be a whole number of 0 or more, got {seed!r}.")
    return _Sensor(scale, psf, None if snr_db is None else float(cast(float, snr_db)), int(seed))


def _degrade_values(
    values: Any, sensor: _Sensor, *, band_axis: int | None, wavelength_nm: NDArray[Any] | None = None
) -> Any:
    if values.ndim < 2:
        raise DataError(f"A cube has at least the axes y and x, got shape {values.shape}.")
    if values.dtype.kind not in "biuf":
        raise DataError(f"A cube holds real numbers, got {values.dtype}; convert it first.")
    check = partial(_check_finite, band_axis=band_axis, wavelength_nm=wavelength_nm)
    reduce = _reduce_lazily if is_dask_collection(values) else _reduce
    return reduce(values, sensor, check)


def _reduce(values: NDArray[Any], sensor: _Sensor, check: Check) -> NDArray[Any]:
    low = sensor.psf.downsample(values, sensor.scale, threads=CPU_COUNT)
    check(low, (0,) * low.ndim)
    if sensor.snr_db is None:
        return low
    planes = low.reshape(-1, *low.shape[-2:])
    power = band_power(planes) / (low.shape[-2] * low.shape[-1])
    return add_noise(planes, snr_db=sensor.snr_db, power=power, seed=(sensor.seed,)).reshape(low.shape)


def _reduce_lazily(values: Any, sensor: _Sensor, check: Check) -> Any:
    # dask.array is slow to import, and only lazy cubes need it.
    from hsipipe.degradation.lazy import add_noise_lazy, downsample_lazy

    low = downsample_lazy(values, sensor.scale, psf=sensor.psf, check=check)
    if sensor.snr_db is None:
        return low
    planes = add_noise_lazy(low.reshape(-1, *low.shape[-2:]), snr_db=sensor.snr_db, seed=sensor.seed)
    return planes.reshape(low.shape)


def _check_finite(
    low: NDArray[Any], place: tuple[int, ...], *, band_axis: int | None, wavelength_nm: NDArray[Any] | None
) -> None:
    """Check a block of the result for NaN, s*s times faster than the cube: every NaN of the cube reaches the result.

    Args:
        low: Block of the result.
        place: Position of the block in the result.
        band_axis: Axis of the bands in both.
        wavelength_nm: Band centres of the cube in nm.
    """
    bad = ~np.isfinite(low)
    if not bad.any():
        return
    where = "it"
    if band_axis is not None:
        where = band_label(place[band_axis] + int(np.argwhere(bad)[:, band_axis].min()), wavelength_nm)
    raise DataError(
        f"The cube has NaN or infinite values in {where}, which would spread to their neighbours; fill them."
    )


def _degrade_labelled(cube: xr.DataArray, sensor: _Sensor) -> xr.DataArray:
    if not {"y", "x"} <= set(cube.dims):
        raise DataError(f"A cube has the dims y and x, got {', '.join(map(str, cube.dims))}; rename its dims.")
    ordered = cube.transpose(..., "y", "x")
    band_axis = ordered.dims.index("band") if "band" in ordered.dims else None
    wavelength_nm = ordered["wavelength_nm"].values if "wavelength_nm" in ordered.coords else None
    values = _degrade_values(ordered.data, sensor, band_axis=band_axis, wavelength_nm=wavelength_nm)
    return coarsen(ordered, values, scale=sensor.scale).transpose(*cube.dims)
