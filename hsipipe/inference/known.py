"""Compare the input of a prediction with the training images of its model."""

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


def input_warnings(domain: Domain | None, lr: NDArray[np.floating[Any]]) -> list[str]:
    """Compare the values of an LR-HSI (C, h, w) with those of the training; return warnings, one sentence each."""
    if domain is None or len(lr) != domain.basis.shape[1]:
        return []
    known = np.where(np.isfinite(lr), lr, 0.0)
    return [*_range_warnings(domain, known), *_spectrum_warnings(domain, known), *_noise_warnings(domain, known)]


def _range_warnings(domain: Domain, lr: NDArray[np.floating[Any]]) -> list[str]:
    margin = _MARGIN * (domain.high - domain.low)
    outside = float(((lr < domain.low - margin) | (lr > domain.high + margin)).mean())
    limits = f"{domain.low:.3g} to {domain.high:.3g}"
    if outside > _FEW:
        return [
            f"{outside:.1%} of the values lie outside of the range of the training ({limits}); the cube has "
            f"{lr.min():.3g} to {lr.max():.3g}, is its full scale right?"
        ]
    if 0 < float(np.abs(lr).max()) < _FAINT * domain.high:
        return [
            f"the values reach {np.abs(lr).max():.3g}, those of the training {domain.high:.3g}; is a scale applied "
            "twice?"
        ]
    return []


def _spectrum_warnings(domain: Domain, lr: NDArray[np.floating[Any]]) -> list[str]:
    spectra = bright_spectra(lr.reshape(len(lr), -1))
    if not len(spectra):
        return []
    far = float((domain.distances(spectra) > max(_FAR * domain.outside, _LEAST_FAR)).mean())
    if far <= _MANY:
        return []
    return [f"{far:.0%} of the spectra are unlike those of the training; is it the same sensor, in the same units?"]


def _noise_warnings(domain: Domain, lr: NDArray[np.floating[Any]]) -> list[str]:
    found = roughness(lr)
    if found <= max(_NOISY * domain.noise, _LEAST_NOISE):
        return []
    return [f"the cube is noisier than the training: {found:.2g} against {domain.noise:.2g} of the full range."]
