"""What a model is given: a cube checked, scaled and with the model bound to its bands, and the HR-MSI beside it.

Every way to ask for a prediction of a file goes through here, so that all give the same values.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import ParamsError
from hsipipe.formats.georeference import refine
from hsipipe.inference.pair import MsiFile, pair_notes, psf_of, read_msi, response_of
from hsipipe.inference.values import scaled
from hsipipe.inference.wording import COMMAND, Wording
from hsipipe.methods.dmgasr.windows import same_centres
from hsipipe.methods.super_resolver import SensorResolver, SuperResolver

TILE = 64
"""Edge of a tile in LR pixels, unless a caller says otherwise."""
OVERLAP = 8
"""LR pixels of context on each side of a tile, unless a caller says otherwise."""
Admit = Callable[[xr.DataArray, int], None]


def _admit_all(cube: xr.DataArray, scale: int) -> None:
    """Accept a cube of any size."""


@dataclass(frozen=True)
class Inputs:
    """A model and what it is given.

    Attributes:
        model: Bound to the bands of the cube.
        cube: The LR-HSI (band, y, x) as it was opened.
        lr: Its values (C, h, w) float32 with 1.0 as the full range.
        full_scale: Value of the cube that means 1.0.
        msi: The HR-MSI (c, H, W) float32 of the same ground, or None.
        msi_wavelength_nm: Centres of its bands (c,), where its file says them.
        notes: What a person should know, a sentence each.
    """

    model: SuperResolver
    cube: xr.DataArray
    lr: NDArray[np.float32]
    full_scale: float
    msi: NDArray[np.float32] | None = None
    msi_wavelength_nm: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    def wrap(self, image: NDArray[np.float32]) -> xr.DataArray:
        """A prediction (C, H, W) in the units of the cube, with its wavelengths and its position."""
        return refine(self.cube, image * np.float32(self.full_scale), scale=self.model.scale)

    def warnings(self) -> list[str]:
        """What casts doubt on the pair, a sentence each; nothing without an HR-MSI."""
        if self.msi is None:
            return []
        return pair_notes(
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
    wording: Wording = COMMAND,
    admit: Admit = _admit_all,
) -> Inputs:
    """Make a model's inputs out of an opened cube.

    Args:
        model: The super-resolver.
        cube: The LR-HSI (band, y, x) as it was opened.
        name: Where the cube is from, for messages.
        full_scale: Value of it that means 1.0.
        msi: HR-MSI of the same ground, for a model that fuses.
        wording: What the caller calls its settings, for messages.
        admit: Called with each opened cube, and the ratio by which its sides will grow, before any value is read;
            it raises where that would be too much.

    Raises:
        DataError: The values are out of the range that models are made for, or the HR-MSI lies elsewhere.
        ModelInputError: The model cannot serve these bands, or extent or ratio of the HR-MSI do not fit.
        HsipipeError: A file cannot be read.
    """
    model, notes = bind(model, cube)
    admit(cube, model.scale)
    lr = scaled(cube, name, full_scale=full_scale, example=wording.given("full_scale", 10000))
    fine, centres = None, None
    if msi is not None:
        fine, centres = read_msi(msi, cube, lr, model=model, wording=wording, admit=admit)
    return Inputs(model, cube, lr, full_scale, fine, centres, notes)


def bind(model: SuperResolver, cube: xr.DataArray) -> tuple[SuperResolver, tuple[str, ...]]:
    """The model for the cube's bands, where it knows bands by their wavelengths, and what is to be said of it.

    Raises:
        ModelInputError: It cannot serve them.
    """
    if not isinstance(model, SensorResolver) or "wavelength_nm" not in cube.coords:
        return model, ()
    mine, its = model.wavelength_nm, cube["wavelength_nm"].to_numpy()
    if mine is None or same_centres(mine, its):
        return model, ()
    note = (
        f"the cube has {len(its)} bands from {its[0]:g} to {its[-1]:g} nm, the model was trained on {len(mine)} "
        f"from {mine[0]:g} to {mine[-1]:g} nm; it is applied in its spectral windows, by wavelength."
    )
    return model.for_wavelengths(its.tolist()), (note,)


def check_tiles(tile: int, overlap: int, *, wording: Wording = COMMAND) -> None:
    """Check the tiles of a scene.

    Raises:
        ParamsError: They are empty, or nothing is left between two overlaps.
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
    """Check the value that means 1.0.

    Raises:
        ParamsError: It is no positive number.
    """
    if not (math.isfinite(value) and value > 0):
        raise ParamsError(f"{wording.name(setting)} must be a positive number, got {value}.")


def check_msi_wanted(model: SuperResolver, msi: MsiFile | None, *, wording: Wording = COMMAND) -> None:
    """Check that an HR-MSI is there if the model fuses, and only then.

    Raises:
        ParamsError: It is missing, not wanted, or its full scale is no positive number.
    """
    if msi is None and model.msi_bands != 0:
        bands = "" if model.msi_bands is None else f" of {model.msi_bands} bands"
        raise ParamsError(
            f"The model {model.name} fuses the LR-HSI with an HR-MSI{bands}, but got none; {wording.msi}."
        )
    if msi is not None and model.msi_bands == 0:
        option = wording.name("msi")
        raise ParamsError(
            f"Got {option} {msi.path}, but the model {model.name} super-resolves the LR-HSI alone; leave {option} out, "
            "or take a fusion model."
        )
    if msi is not None:
        check_full_scale(msi.full_scale, setting="msi_full_scale", wording=wording)
