"""Compare the input of a prediction with the training images of its model."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import ModelInputError
from hsipipe.inference.wording import COMMAND, Wording
from hsipipe.methods.domain import Domain, bright_spectra, roughness, span
from hsipipe.methods.super_resolver import SuperResolver

OTHER = "other_wavelengths"
"""Setting that allows bands of other wavelengths than those of the training."""
_FEW, _MANY = 0.001, 0.1
"""Share of values out of range, and of spectra out of the subspace, above which there is a warning."""
_MARGIN = 0.05
"""Share of the range of the training by which values may exceed it."""
_FAINT = 0.01
"""Share of the largest training value below which a whole image is faint."""
_NOISY, _LEAST_NOISE = 4.0, 0.002
"""Ratio to the noise of the training above which an image is noisy, and the smallest noise that counts."""
_FAR, _LEAST_FAR = 2.0, 0.02
"""The same for the distance of a spectrum to the subspace."""
_HALO = 2
"""Rows of the next strip on which the noise of a strip depends."""


def domain_of(model: SuperResolver) -> Domain | None:
    """Return the training domain of a model, or None if it is unknown or the model is not trained."""
    domain = getattr(model, "domain", None)
    return domain if isinstance(domain, Domain) else None


def check_wavelengths(
    domain: Domain | None, cube: xr.DataArray, *, allow_other: bool = False, wording: Wording = COMMAND
) -> tuple[str, ...]:
    """Compare the band centres of a cube with those of the training; return notes for the user.

    Args:
        domain: Domain of the model's training.
        cube: LR-HSI (band, y, x) as opened.
        allow_other: Note other wavelengths instead of refusing them.
        wording: Spelling of the caller's settings in messages.

    Raises:
        ModelInputError: A band lies more than half a band step from that of the training.
    """
    if domain is None:
        return ()
    mine = domain.wavelength_nm
    if "wavelength_nm" not in cube.coords:
        if mine is None:
            return ()
        return (
            f"the cube states no wavelengths; the model was trained on {span(mine)}, check that the bands are the "
            "same and in the same order.",
        )
    if mine is None:
        return ("the model does not know the wavelengths of its training, so those of the cube are not compared.",)
    text = domain.other_bands(cube["wavelength_nm"].to_numpy().tolist())
    if not text:
        return ()
    if allow_other:
        return (f"{text}.",)
    raise ModelInputError(f"{text}. Take a model of this sensor, or go on with {wording.switch(OTHER)}.")


Strips = Callable[[int], Iterable[tuple[NDArray[np.floating[Any]], int]]]
"""Iterates over an LR-HSI from top to bottom: for a halo in rows, returns the values (C, rows, w) of each strip, which
go on into the next one by the halo, and the number of its rows without it."""


def input_warnings(domain: Domain | None, lr: NDArray[np.floating[Any]]) -> list[str]:
    """Compare the values of an LR-HSI (C, h, w) with those of the training; return warnings, one sentence each."""
    return strip_warnings(domain, len(lr), lambda halo: [(lr, lr.shape[1])])


def strip_warnings(domain: Domain | None, bands: int, strips: Strips) -> list[str]:
    """Compare the values of an LR-HSI that is read in strips with those of the training; the warnings are the same.

    Args:
        domain: Domain of the model's training.
        bands: Bands of the LR-HSI.
        strips: Its values; they are read several times.
    """
    if domain is None or bands != domain.basis.shape[1]:
        return []
    found, noise = _Range(domain), _Noise()
    for values, rows in strips(_HALO):
        known = np.where(np.isfinite(values), values, 0.0)
        found.add(known[:, :rows])
        noise.add(known)
    return [
        *found.warnings(),
        *_spectrum_warnings(domain, strips, found.brightest),
        *_noise_warnings(domain, strips, noise),
    ]


class _Range:
    """Range of the values of an image, their share outside of the training, and the brightest spectrum."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._outside, self._size = 0, 0
        self._low, self._high = np.inf, -np.inf
        self._norm = -1.0
        self.brightest = np.zeros((domain.basis.shape[1], 1))

    def add(self, lr: NDArray[np.floating[Any]]) -> None:
        margin = _MARGIN * (self._domain.high - self._domain.low)
        self._outside += int(((lr < self._domain.low - margin) | (lr > self._domain.high + margin)).sum())
        self._size += lr.size
        self._low, self._high = min(self._low, float(lr.min())), max(self._high, float(lr.max()))
        spectra = np.asarray(lr.reshape(len(lr), -1), dtype=np.float64)
        norms = np.linalg.norm(spectra, axis=0)
        if norms.max() > self._norm:
            self._norm = float(norms.max())
            self.brightest = spectra[:, [int(norms.argmax())]]

    def warnings(self) -> list[str]:
        domain, outside = self._domain, self._outside / self._size
        if outside > _FEW:
            return [
                f"{outside:.1%} of the values lie outside of the range of the training ({domain.low:.3g} to "
                f"{domain.high:.3g}); the cube has {self._low:.3g} to {self._high:.3g}, is its full scale right?"
            ]
        most = max(abs(self._low), abs(self._high))
        if 0 < most < _FAINT * domain.high:
            return [f"the values reach {most:.3g}, those of the training {domain.high:.3g}; is a scale applied twice?"]
        return []


def _spectrum_warnings(domain: Domain, strips: Strips, brightest: NDArray[np.float64]) -> list[str]:
    far, count = 0, 0
    for values, rows in strips(0):
        known = np.where(np.isfinite(values[:, :rows]), values[:, :rows], 0.0).reshape(len(values), -1)
        # With the brightest spectrum of the image in every strip, each is dark by the same measure.
        spectra = bright_spectra(np.concatenate([known, brightest], axis=1))[:-1]
        far += int((domain.distances(spectra) > max(_FAR * domain.outside, _LEAST_FAR)).sum())
        count += len(spectra)
    if far <= _MANY * count:
        return []
    return [
        f"{far / count:.0%} of the spectra are unlike those of the training; is it the same sensor, in the same units?"
    ]


class _Noise:
    """Median of the second mixed differences of an image, by counts of the upper halves of their bits."""

    def __init__(self) -> None:
        self._counts = np.zeros(1 << 16, np.int64)

    def add(self, lr: NDArray[np.floating[Any]]) -> None:
        self._counts += np.bincount(_bits(lr) >> 16, minlength=1 << 16)

    def bounds(self) -> tuple[int, int]:
        """Return the upper halves of the two middle values, equal ones for an odd number; -1: there are no values."""
        total = int(self._counts.sum())
        if not total:
            return -1, -1
        ends = np.cumsum(self._counts)
        low, high = (int(np.searchsorted(ends, rank, side="right")) for rank in ((total - 1) // 2, total // 2))
        return low, high

    def median(self, strips: Strips) -> float:
        """Return the median, which takes one more pass over the image."""
        low, high = self.bounds()
        before = int(self._counts[:low].sum())
        lower = {half: np.zeros(1 << 16, np.int64) for half in {low, high}}
        for values, _ in strips(_HALO):
            bits = _bits(np.where(np.isfinite(values), values, 0.0))
            for half, counts in lower.items():
                counts += np.bincount(bits[bits >> 16 == half] & 0xFFFF, minlength=1 << 16)
        total = int(self._counts.sum())
        middle = []
        for rank in ((total - 1) // 2, total // 2):
            half = low if rank < before + self._counts[low] else high
            rest = rank - int(self._counts[:half].sum())
            place = int(np.searchsorted(np.cumsum(lower[half]), rest, side="right"))
            middle.append(_value(half, place))
        return float(np.mean(middle))


def _noise_warnings(domain: Domain, strips: Strips, noise: _Noise) -> list[str]:
    limit = max(_NOISY * domain.noise, _LEAST_NOISE)
    low, high = noise.bounds()
    if low < 0 or _as_roughness(_value(high, 0xFFFF)) <= limit:
        return []
    found = _as_roughness(noise.median(strips))
    if found <= limit:
        return []
    return [f"the cube is noisier than the training: {found:.2g} against {domain.noise:.2g} of the full range."]


def _bits(lr: NDArray[np.floating[Any]]) -> NDArray[np.uint32]:
    """Return the bits of the absolute second mixed differences of an image as numbers, which have the same order."""
    image = np.asarray(lr, dtype=np.float32)
    if min(image.shape[1:]) < 3:
        return np.zeros(0, np.uint32)
    rows = image[:, :-2] - 2 * image[:, 1:-1] + image[:, 2:]
    mixed = np.abs(rows[:, :, :-2] - 2 * rows[:, :, 1:-1] + rows[:, :, 2:])
    return np.asarray(mixed.view(np.uint32).ravel())


def _value(upper: int, lower: int) -> np.float32:
    return np.float32(np.array([upper << 16 | lower], np.uint32).view(np.float32)[0])


def _as_roughness(difference: float | np.float32) -> float:
    """Return the :func:`roughness` of an image whose median difference is this: of one with a single difference."""
    image = np.zeros((1, 3, 3))
    image[0, 0, 0] = difference
    return roughness(image)
