"""Simulate the HR-HSI, LR-HSI and HR-MSI of one region, written strip by strip into one store."""

import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from hsipipe.artifacts.no_data import NO_DATA, Mask, coarse_valid, has_data
from hsipipe.degradation.masked import filled_rows, has_weight
from hsipipe.degradation.noise import add_noise, band_power
from hsipipe.degradation.psf import Psf
from hsipipe.degradation.srf import apply_response
from hsipipe.errors import DataError
from hsipipe.params import SnrParams
from hsipipe.storage.parallel import run_all
from hsipipe.storage.stores import ArraySpec, create_store, get_array, read, rows_per_chunk

# Thinner strips would spend most of the time on rows shared with their neighbours.
_LEAST_LR_ROWS = 16
# Upper limit of a strip, unless one LR row is larger.
_STRIP_BYTES = 64 << 20


@dataclass(frozen=True)
class Sensors:
    """The simulated sensors.

    Attributes:
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        response: Spectral response (c, C) of the HR-MSI; None: no HR-MSI, or a measured one.
        snr_db: Signal-to-noise ratios of both sensors in dB.
        seed: Seed of the noise.
    """

    scale: int
    psf: Psf
    response: NDArray[np.float64] | None
    snr_db: SnrParams
    seed: int


@dataclass(frozen=True)
class Scene:
    """A region of a scene, normalised to ``(cube - low) / span``.

    Attributes:
        name: Name, unique in the experiment; the noise depends on it.
        cube: (band, y, x), in memory or lazy.
        low: Value that maps to 0.
        span: Difference of the values that map to 1 and 0.
        msi: Co-registered measured HR-MSI (msi band, y, x) of the same pixels, or None.
        has_holes: Whether a pixel of the scene or of its MSI may have no data (NaN); else it is not looked for.
    """

    name: str
    cube: xr.DataArray
    low: float
    span: float
    msi: xr.DataArray | None = None
    has_holes: bool = False

    def rows(self, rows: slice) -> NDArray[np.float32]:
        """Read some rows, normalised, (C, rows, W)."""
        strip = np.ascontiguousarray(self.cube[:, rows].values, dtype=np.float32)
        if (self.low, self.span) == (0.0, 1.0):
            return strip
        return np.asarray((strip - np.float32(self.low)) / np.float32(self.span))

    def valid(self, rows: int) -> Mask | None:
        """Return the pixels (H, W) with data in all bands of both images, read in strips of `rows`; None: all."""
        if not self.has_holes:
            return None
        images = [self.cube] if self.msi is None else [self.cube, self.msi]
        strips = [
            np.logical_and.reduce([has_data(image[:, start : start + rows].values) for image in images])
            for start in range(0, self.cube.shape[1], rows)
        ]
        valid: Mask = np.concatenate(strips)
        return None if valid.all() else valid


@dataclass(frozen=True, eq=False)
class _Holes:
    """Pixels of a region without data.

    Attributes:
        valid: HR pixels (H, W) with data in every image.
        touched: LR pixels (h, w) that depend on some of them, or may.
    """

    valid: Mask
    touched: Mask

    @classmethod
    def of(cls, valid: Mask, sensors: Sensors, *, name: str) -> "_Holes":
        """Find the LR pixels with data, and exclude the HR pixels of the others: nothing was observed there.

        Raises:
            DataError: No pixel is left.
        """
        scale = sensors.scale
        seen = has_weight(valid, scale, psf=sensors.psf)
        kept = valid & seen.repeat(scale, axis=0).repeat(scale, axis=1)
        if not kept.any():
            raise DataError(
                f"{name} has no LR pixel with data, {valid.mean():.1%} of its HR pixels have some; move its region in "
                "split, or remove the scene."
            )
        reach = -(-sensors.psf.reach(scale) // scale)
        touched = binary_dilation(coarse_valid(kept, scale), np.ones((2 * reach + 1,) * 2, dtype=bool))
        return cls(kept, touched)

    @property
    def share(self) -> float:
        """Share of the HR pixels without data."""
        return 1 - float(self.valid.mean())


def simulate(scene: Scene, path: Path, sensors: Sensors) -> None:
    """Write the store of a region: ``hr``, ``lr`` and, if there is one, ``msi``.

    A pixel without data in one of the images is NaN in both HR images. The LR-HSI is degraded from the filled scene, as
    by :func:`hsipipe.degradation.masked.downsample_valid`. It is NaN where it depends on no pixel with data. The store
    then has the attribute ``no_data_share``.

    Each task writes separate chunks and holds one strip, so the memory depends on the strips, not on the scene.

    Raises:
        DataError: No pixel of the region has data.
    """
    bands, height, width = scene.cube.shape
    scale = sensors.scale
    rows = rows_per_chunk(scene.cube.shape, multiple=scale, least=_least_rows(bands * width * 4, scale))
    valid = scene.valid(rows)
    holes = None if valid is None else _Holes.of(valid, sensors, name=scene.name)
    attrs = {"scale": scale} | ({} if holes is None else {NO_DATA: holes.share})
    group = create_store(path, _layout(scene, sensors, rows), attrs=attrs)
    hr, lr = get_array(group, "hr"), get_array(group, "lr")
    msi = get_array(group, "msi") if "msi" in group else None

    def copy_strip(start: int) -> None:
        here = slice(start, start + rows)
        strip = _opened(scene.rows(here), holes, here)
        hr[:, here] = strip
        if msi is None:
            return
        if scene.msi is not None:
            msi[:, here] = _opened(scene.msi[:, here].values, holes, here)
        elif sensors.response is not None:
            msi[:, here] = apply_response(sensors.response, strip)

    def reduce_strip(target: slice, source: slice, weights: NDArray[np.float64]) -> None:
        if holes is None:
            wide = scene.rows(source)
        else:
            wide = filled_rows(scene.rows, holes.valid, source, scale, psf=sensors.psf)
        narrow = weights.astype(np.float32) @ wide
        out = np.empty((bands, len(weights), width // scale), dtype=np.float32)
        sensors.psf.columns(narrow, out, scale)
        lr[:, target] = out if holes is None else np.where(holes.touched[target], out, np.float32(np.nan))

    # A strip, the rows shared with its neighbours, and the compression buffers.
    held = 3 * bands * rows * width * 4
    strips = sensors.psf.strips(height, scale, rows=rows // scale)
    run_all(
        [partial(copy_strip, start) for start in range(0, height, rows)]
        + [partial(reduce_strip, *strip) for strip in strips],
        held_bytes=held,
    )
    _make_noisy(lr, sensors.snr_db.lr, rows=rows // scale, seed=_seed(scene, sensors, 0))
    if msi is not None:
        _make_noisy(msi, sensors.snr_db.msi, rows=rows, seed=_seed(scene, sensors, 1))


def _opened(strip: NDArray[Any], holes: _Holes | None, rows: slice) -> NDArray[Any]:
    """Set the pixels of some rows to NaN that have no data."""
    return strip if holes is None else np.where(holes.valid[rows], strip, np.float32(np.nan))


def _least_rows(row_bytes: int, scale: int) -> int:
    return max(scale, min(_LEAST_LR_ROWS * scale, _STRIP_BYTES // row_bytes))


def _make_noisy(array: zarr.Array[Any], snr_db: float | None, *, rows: int, seed: tuple[int, ...]) -> None:
    if snr_db is None:
        return
    bands, height, _ = array.shape
    starts = range(0, height, rows)
    # One row per strip: the sum does not depend on the order in which threads finish.
    power, count = np.zeros((len(starts), bands)), np.zeros(len(starts), dtype=int)

    def measure(number: int, start: int) -> None:
        strip = read(array, np.s_[:, start : start + rows])
        valid = np.isfinite(strip[0])  # a pixel without data has none in any band
        count[number] = np.count_nonzero(valid)
        power[number] = band_power(strip if valid.all() else np.where(valid, strip, 0))

    run_all(partial(measure, number, start) for number, start in enumerate(starts))
    mean_power = power.sum(axis=0) / count.sum()

    def disturb(start: int) -> None:
        strip = read(array, np.s_[:, start : start + rows])
        array[:, start : start + rows] = add_noise(strip, snr_db=snr_db, power=mean_power, first_row=start, seed=seed)

    run_all(partial(disturb, start) for start in starts)


def _seed(scene: Scene, sensors: Sensors, sensor: int) -> tuple[int, ...]:
    return sensors.seed, sensor, zlib.crc32(scene.name.encode())


def _layout(scene: Scene, sensors: Sensors, rows: int) -> dict[str, ArraySpec]:
    bands, height, width = scene.cube.shape
    scale = sensors.scale
    hsi: dict[str, Any] = {"units": "1"}
    if "wavelength_nm" in scene.cube.coords:
        hsi["wavelength_nm"] = scene.cube["wavelength_nm"].values.tolist()
    layout = {
        "hr": ArraySpec((bands, height, width), ("band", "y", "x"), (bands, rows, width), attrs=hsi),
        "lr": ArraySpec(
            (bands, height // scale, width // scale),
            ("band", "y_lr", "x_lr"),
            (bands, rows // scale, width // scale),
            attrs=hsi,
        ),
    }
    msi_bands = len(scene.msi) if scene.msi is not None else 0 if sensors.response is None else len(sensors.response)
    if msi_bands:
        layout["msi"] = ArraySpec(
            (msi_bands, height, width), ("msi_band", "y", "x"), (msi_bands, rows, width), attrs={"units": "1"}
        )
    return layout
