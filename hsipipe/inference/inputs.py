"""Prepare the inputs of a prediction: check and scale the cube, bind the model to its bands, read the HR-MSI.

The command line and the model server both use this module, so both predict the same values.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.degradation.psf import BICUBIC
from hsipipe.errors import ModelInputError, ParamsError
from hsipipe.formats.regrid import refine
from hsipipe.inference.holes import Mask, fill_holes, joined, open_holes
from hsipipe.inference.known import check_wavelengths, domain_of, input_warnings
from hsipipe.inference.msi_holes import fill_from_lr
from hsipipe.inference.pair import MsiFile, pair_notes, psf_of, read_msi, register, response_of
from hsipipe.inference.values import scaled
from hsipipe.inference.wording import COMMAND, Wording
from hsipipe.methods.dmgasr.windows import same_centres
from hsipipe.methods.super_resolver import SensorResolver, SuperResolver

TILE = 64
"""Default edge of a tile in LR pixels."""
OVERLAP = 8
"""Default context on each side of a tile in LR pixels."""
Admit = Callable[[xr.DataArray, int], None]


def _admit_all(cube: xr.DataArray, scale: int) -> None:
    """Accept a cube of any size."""


@dataclass(frozen=True)
class Inputs:
    """Model and inputs of a prediction.

    Attributes:
        model: Super-resolver bound to the bands of the cube.
        cube: LR-HSI (band, y, x) as opened.
        lr: Values of the cube (C, h, w) float32, scaled so that 1.0 is the full range, without holes.
        full_scale: Value of the cube that maps to 1.0.
        msi: HR-MSI (c, H, W) float32 of the same area, or None.
        msi_wavelength_nm: Centre wavelengths of its bands in nm (c,), if its file has them.
        holes: Pixels (H, W) without data, which are none in the result either; None: there are none.
        notes: Notes for the user, one sentence each.
    """

    model: SuperResolver
    cube: xr.DataArray
    lr: NDArray[np.float32]
    full_scale: float
    msi: NDArray[np.float32] | None = None
    msi_wavelength_nm: NDArray[np.float64] | None = None
    holes: Mask | None = None
    notes: tuple[str, ...] = ()

    def wrap(self, image: NDArray[np.float32]) -> xr.DataArray:
        """Convert a prediction (C, H, W) to the units of the cube, with its holes, wavelengths and position."""
        opened = open_holes(image * np.float32(self.full_scale), self.holes)
        return refine(self.cube, opened, scale=self.model.scale)

    def warnings(self) -> list[str]:
        """Compare the images with the model's training and with each other; return warnings, one sentence each."""
        told = input_warnings(domain_of(self.model), self.lr)
        if self.msi is None:
            return told
        return told + pair_notes(
            self.lr,
            self.msi,
            scale=self.model.scale,
            psf=psf_of(self.model),
            response=response_of(self.model, self.lr, self.msi),
            msi_wavelength_nm=self.msi_wavelength_nm,
        )


def prepare(
    model: SuperResolver,
    cube: xr.DataArray,
    *,
    name: object,
    full_scale: float,
    msi: MsiFile | None = None,
    registered: bool = False,
    other_wavelengths: bool = False,
    wording: Wording = COMMAND,
    admit: Admit = _admit_all,
) -> Inputs:
    """Prepare the inputs of a model from an opened cube.

    Args:
        model: Super-resolver.
        cube: LR-HSI (band, y, x) as opened.
        name: Source of the cube in messages.
        full_scale: Value of the cube that maps to 1.0.
        msi: HR-MSI of the same area, for a fusion model.
        registered: Measure and remove a field of shifts between the two images.
        other_wavelengths: Accept bands of other wavelengths than those of the training.
        wording: Spelling of the caller's settings in messages.
        admit: Called with each opened cube and the ratio by which its sides grow, before any value is read; it raises
            an error to refuse a cube that is too large.

    Raises:
        DataError: The values are out of range, a band has no data, or the HR-MSI covers another area.
        ModelInputError: The model does not support these bands, or extent or ratio of the HR-MSI do not match.
        HsipipeError: A file cannot be read.
    """
    model, notes = bind(model, cube, other_wavelengths=other_wavelengths, wording=wording)
    admit(cube, model.scale)
    values = scaled(cube, name, full_scale=full_scale, example=wording.given("full_scale", 10000))
    lr, lr_holes = fill_holes(values, name)
    fine, fine_holes, centres = None, None, None
    if msi is not None:
        fine, fine_holes, centres = read_msi(msi, cube, lr, model=model, wording=wording, admit=admit)
        if registered:
            psf = psf_of(model) or BICUBIC
            fine, fine_holes, field = register(lr, fine, fine_holes, scale=model.scale, psf=psf)
            notes = (*notes, field.describe())
    if fine is not None and fine_holes is not None:
        fine = _without_holes(model, lr, fine, fine_holes, lr_holes)
    holes = joined(lr_holes, fine_holes, scale=model.scale)
    if holes is not None:
        notes = (*notes, no_data_note(float(holes.mean())))
    return Inputs(model, cube, lr, full_scale, fine, centres, holes, notes)


def _without_holes(
    model: SuperResolver, lr: NDArray[np.float32], msi: NDArray[np.float32], holes: Mask, lr_holes: Mask | None
) -> NDArray[np.float32]:
    """Fill the holes of an HR-MSI from the LR-HSI, if the PSF is known; otherwise it keeps its nearest pixels there."""
    psf = psf_of(model)
    if psf is None:
        return msi
    return fill_from_lr(lr, msi, holes, lr_holes, scale=model.scale, psf=psf, known=response_of(model, lr, msi))


def bind(
    model: SuperResolver, cube: xr.DataArray, *, other_wavelengths: bool = False, wording: Wording = COMMAND
) -> tuple[SuperResolver, tuple[str, ...]]:
    """Bind a model that identifies bands by wavelength to the bands of a cube; return it with notes for the user.

    The bands of any other model are compared with those of its training.

    Args:
        model: Super-resolver.
        cube: LR-HSI (band, y, x) as opened.
        other_wavelengths: Accept bands of other wavelengths than those of the training.
        wording: Spelling of the caller's settings in messages.

    Raises:
        ModelInputError: The model does not support the bands.
    """
    mine = model.wavelength_nm if isinstance(model, SensorResolver) else None
    if isinstance(model, SensorResolver) and mine is not None and "wavelength_nm" in cube.coords:
        its = cube["wavelength_nm"].to_numpy()
        if not same_centres(mine, its):
            note = (
                f"the cube has {len(its)} bands from {its[0]:g} to {its[-1]:g} nm, the model was trained on "
                f"{len(mine)} from {mine[0]:g} to {mine[-1]:g} nm; it is applied in its spectral windows, by "
                "wavelength."
            )
            return model.for_wavelengths(its.tolist()), (note,)
    notes = check_wavelengths(domain_of(model), cube, allow_other=other_wavelengths, wording=wording)
    count = cube.sizes["band"]
    if model.bands is not None and count != model.bands:
        binds = mine is not None and "wavelength_nm" not in cube.coords
        remedy = "give the cube its wavelengths, which bind the model to it, or " if binds else ""
        raise ModelInputError(
            f"The cube has {count} bands, the model was trained on {model.bands}; {remedy}select these in their order, "
            "or take a model of this sensor."
        )
    return model, notes


def no_data_note(share: float) -> str:
    """Return the note about the share of pixels without data."""
    return f"{share:.1%} of the image has no data, and has none in the result."


def check_tiles(tile: int, overlap: int, *, wording: Wording = COMMAND) -> None:
    """Check the tiles of a scene.

    Raises:
        ParamsError: The tile is empty, or the overlaps cover all of it.
    """
    if tile < 1 or overlap < 0:
        raise ParamsError(
            f"{wording.name('tile')} must be at least 1 and {wording.name('overlap')} at least 0, "
            f"got {tile} and {overlap}."
        )
    if overlap * 2 >= tile:
        raise ParamsError(
            f"{wording.name('overlap')} ({overlap}) must be less than half of {wording.name('tile')} ({tile})."
        )


def check_full_scale(value: float, *, setting: str = "full_scale", wording: Wording = COMMAND) -> None:
    """Check the value that maps to 1.0.

    Raises:
        ParamsError: It is not a positive number.
    """
    if not (math.isfinite(value) and value > 0):
        raise ParamsError(f"{wording.name(setting)} must be a positive number, got {value}.")


def check_msi_wanted(model: SuperResolver, msi: MsiFile | None, *, wording: Wording = COMMAND) -> None:
    """Check that an HR-MSI is given if, and only if, the model is a fusion model.

    Raises:
        ParamsError: The HR-MSI is missing or not used, or its full scale is not a positive number.
    """
    if msi is None and model.msi_bands != 0:
        bands = "" if model.msi_bands is None else f" of {model.msi_bands} bands"
        raise ParamsError(
            f"The model {model.name} fuses the LR-HSI with an HR-MSI{bands}, but got none; {wording.msi}."
        )
    if msi is not None and model.msi_bands == 0:
        option = wording.name("msi")
        raise ParamsError(
            f"Got {option} {msi.path}, but the model {model.name} super-resolves the LR-HSI alone; omit {option}, "
            "or use a fusion model."
        )
    if msi is not None:
        check_full_scale(msi.full_scale, setting="msi_full_scale", wording=wording)
