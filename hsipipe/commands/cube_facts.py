"""Read a cube once for what `hsipipe info` says: shape, wavelengths, values and their defects, position."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.formats import companions, open_cube
from hsipipe.formats.cf import of_file
from hsipipe.formats.georeference import crs_of, pixel_size, transform_of
from hsipipe.formats.lazy import blocks, count_blocks
from hsipipe.formats.overlap import Overlap
from hsipipe.formats.products.base import Masks
from hsipipe.formats.recognise import recognise_url
from hsipipe.full_scale import BRIGHT, likely_full_scale
from hsipipe.progress import progress
from hsipipe.storage.places import size_of
from hsipipe.storage.urls import Place, Url

_EDGE = 128
"""Edge in pixels of the middle of a remote cube, of which the values are surveyed."""


@dataclass
class Survey:
    """Statistics per band over finite values."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    total: NDArray[np.float64]
    finite: NDArray[np.int64]
    negative: NDArray[np.int64]
    bright: NDArray[np.int64]


@dataclass(frozen=True)
class CubeFacts:
    """A cube, opened, and the statistics of its values.

    Attributes:
        path: Its file or folder, or its address.
        cube: The cube (band, y, x), lazy where the format allows.
        found: Statistics of its bands.
        seen: Number of values in them: all, or those in the middle of a remote cube.
        variable: Array that the caller chose; None: the only one.
    """

    path: Place
    cube: xr.DataArray
    found: Survey
    seen: int
    variable: str | None = None

    @classmethod
    def read(
        cls,
        path: Place,
        *,
        variable: str | None = None,
        bands: int | None = None,
        overlap: Overlap = "keep",
        masks: Masks = "all",
    ) -> "CubeFacts":
        """Open a cube and survey its values block by block: it may be larger than the memory.

        Of a remote cube the middle is surveyed, 128 x 128 pixels.
        """
        cube = open_cube(path, variable=variable, bands=bands, overlap=overlap, masks=masks)
        part = _middle(cube) if isinstance(path, Url) else cube
        return cls(path, cube, _survey(part), part.size, variable)

    @property
    def wavelength_nm(self) -> NDArray[np.float64] | None:
        """Band centres (C,) in nm; None: unknown."""
        return self.cube["wavelength_nm"].to_numpy() if "wavelength_nm" in self.cube.coords else None

    @property
    def highest(self) -> float | None:
        """Largest finite value; None: there is no finite one."""
        return float(self.found.high.max()) if self.found.finite.any() else None

    @property
    def likely_full_scale(self) -> int | None:
        """Value that the values indicate as 1.0; None: there is no finite one, or no common scale."""
        if self.highest is None:
            return None
        return likely_full_scale(self.highest, bright=float(self.found.bright.sum() / self.found.finite.sum()))

    @property
    def mean(self) -> float:
        """Mean of the finite values."""
        return float(self.found.total.sum() / self.found.finite.sum())

    @property
    def not_finite(self) -> int:
        """Number of values that are NaN or infinite."""
        return int(self.seen - self.found.finite.sum())

    @property
    def dead(self) -> list[int]:
        """Bands with one value or none, counted from 0."""
        found = np.flatnonzero((self.found.low >= self.found.high) | (self.found.finite == 0))
        return [int(band) for band in found]

    @property
    def bad(self) -> list[int] | None:
        """Bands that the file marks as bad, counted from 0; None: it marks none of either kind."""
        if "bad_bands" not in self.cube.attrs:
            return None
        return [int(band) - 1 for band in np.atleast_1d(self.cube.attrs["bad_bands"]).astype(int)]

    @property
    def unusable(self) -> list[int]:
        """Dead and bad bands, counted from 0."""
        return sorted({*self.dead, *(self.bad or [])})

    @property
    def size_bytes(self) -> int:
        """Bytes of all files of the cube on the disk; of a remote store 0, since a server does not list its files."""
        if isinstance(self.path, Url):
            return 0 if recognise_url(self.path).is_folder else size_of(self.path)
        return sum(file.stat().st_size for file in companions(self.path))

    @cached_property
    def masked(self) -> Mapping[str, float]:
        """Share of the values under each mask of a product."""
        masks: dict[str, Any] = self.cube.encoding.get("masked", {})
        return {name: float(where.mean().compute()) for name, where in masks.items()}

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """Width and height of a pixel in units of its reference system; None: unknown."""
        return pixel_size(self.cube)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values; NaN and infinities are null."""
        cube, nm, crs = self.cube, self.wavelength_nm, crs_of(self.cube)
        count, height, width = cube.shape
        return {
            "file": str(self.path),
            "format": cube.encoding.get("format"),
            "variable": cube.encoding.get("variable"),
            "product": cube.encoding.get("product"),
            "applied": list(cube.encoding.get("applied", [])),
            "masked": dict(self.masked),
            "bands": count,
            "rows": height,
            "columns": width,
            "values_seen": self.seen,
            "stored_dtype": cube.encoding.get("stored_dtype"),
            "size_bytes": self.size_bytes,
            "wavelength_nm": None if nm is None else _plain(nm),
            "fwhm_nm": _plain(cube["fwhm_nm"].to_numpy()) if "fwhm_nm" in cube.coords else None,
            "low": float(self.found.low.min()) if self.found.finite.any() else None,
            "high": self.highest,
            "mean": self.mean if self.found.finite.any() else None,
            "not_finite": self.not_finite,
            "negative": int(self.found.negative.sum()),
            "dead_bands": [band + 1 for band in self.dead],
            "bad_bands": None if self.bad is None else [band + 1 for band in self.bad],
            "provenance": of_file(cube.attrs),
            "crs": None if crs is None else crs.to_wkt(),
            "transform": None if (transform := transform_of(cube)) is None else list(transform)[:6],
        }


def stated_full_scale(cube: xr.DataArray) -> float | None:
    """Return the scale factor that the file states of its reflectances, if it does."""
    said = cube.attrs.get("reflectance_scale_factor")
    return float(said) if isinstance(said, int | float) and said > 0 else None


def _plain(values: NDArray[Any]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _middle(cube: xr.DataArray) -> xr.DataArray:
    rows, columns = (slice(max(0, (n - _EDGE) // 2), (n + _EDGE) // 2) for n in cube.shape[1:])
    return cube[:, rows, columns]


def _survey(cube: xr.DataArray) -> Survey:
    n = len(cube)
    zeros = np.zeros(n, dtype=np.int64)
    found = Survey(np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n), zeros, zeros.copy(), zeros.copy())
    with progress("look at values", count_blocks(cube)) as advance:
        for bands, values in blocks(cube):
            finite = np.isfinite(values)
            axes = (1, 2)
            found.low[bands] = np.minimum(found.low[bands], values.min(axis=axes, initial=np.inf, where=finite))
            found.high[bands] = np.maximum(found.high[bands], values.max(axis=axes, initial=-np.inf, where=finite))
            found.total[bands] += values.sum(axis=axes, dtype=np.float64, where=finite)
            found.finite[bands] += finite.sum(axis=axes)
            found.negative[bands] += (values < 0).sum(axis=axes)
            found.bright[bands] += (values > BRIGHT).sum(axis=axes)
            advance()
    return found
