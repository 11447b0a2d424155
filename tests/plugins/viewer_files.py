"""A truth, its LR cube, and a prediction, in files."""

import numpy as np
import xarray as xr

from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.formats import save_cube

BANDS, SIZE, SCALE = 12, 24, 4
NM = np.linspace(440, 880, BANDS)


def smooth(bands=BANDS, size=SIZE, seed=0):
    """A cube (bands, size, size) of a few spectra that are mixed by smooth abundances, and some noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    parts = np.stack([np.sin(4 * x + turn) * np.cos(5 * y + turn) for turn in range(3)])
    spectra = 0.2 + 0.5 * random.random((bands, 3)).cumsum(axis=0) / bands
    cube = 0.5 + 0.3 * np.einsum("bk,kyx->byx", spectra, parts)
    return (cube + 0.002 * random.normal(size=cube.shape)).astype(np.float32)


def as_cube(values, nm=NM):
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    return cube if nm is None else cube.assign_coords(wavelength_nm=("band", nm))


def write_files(folder):
    """Path by role: low, ours and truth."""
    truth = smooth()
    low = downsample(truth, SCALE)
    up = upsample(low, SCALE)
    cubes = {"low": low, "ours": up + 0.8 * (truth - up), "truth": truth}
    for name, values in cubes.items():
        save_cube(as_cube(values), folder / f"{name}.nc")
    return {name: folder / f"{name}.nc" for name in cubes}
