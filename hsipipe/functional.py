"""Answers to questions about a scene, with their uncertainty: a function of a cube, evaluated on samples.

A prediction is close to the mean of what each pixel may be by itself. What is not linear in the pixels, as the largest
value of a field or the area above a threshold, is wrong on it: too smooth. Samples are cubes that are possible as a
whole, so the function of each is a possible answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import DataError, ParamsError
from hsipipe.inference.inputs import OVERLAP, TILE, prepare
from hsipipe.inference.pair import MsiFile
from hsipipe.inference.scene import draw_scene, predict_scene
from hsipipe.memory import check_memory
from hsipipe.methods.super_resolver import SampleResolver, SuperResolver

Function = Callable[[xr.DataArray], Any]
"""Maps a cube (band, y, x), with ``wavelength_nm`` where it is known, to a number or an array."""


@dataclass(frozen=True)
class Distribution:
    """Possible values of a function.

    Attributes:
        values: Value of each of K samples, (K, ...).
        plug_in: Value of the prediction, for comparison.
    """

    values: NDArray[np.float64]
    plug_in: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of the values."""
        return np.asarray(self.values.mean(axis=0))

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of the values (K - 1 in its denominator)."""
        return np.asarray(self.values.std(axis=0, ddof=1))

    def quantile(self, probability: float) -> NDArray[np.float64]:
        """Quantile of the values, by the positions k / (K + 1) of K samples.

        Raises:
            ParamsError: The samples are too few for a quantile so far out.
        """
        count = len(self.values)
        if not 1 / (count + 1) <= probability <= count / (count + 1):
            needed = int(np.ceil(1 / max(min(probability, 1 - probability), 1e-6))) - 1
            raise ParamsError(f"{count} samples have no quantile {probability:g}; draw {needed} or more.")
        return np.asarray(np.quantile(self.values, probability, axis=0, method="weibull"))


def evaluate(
    function: Function,
    model: SuperResolver,
    cube: xr.DataArray,
    *,
    samples: int = 19,
    full_scale: float = 1.0,
    tile: int = TILE,
    overlap: int = OVERLAP,
    msi: MsiFile | None = None,
) -> Distribution:
    """Evaluate a function on samples of the super-resolved cube.

    Args:
        function: Maps a cube, in the units of the input, to a number or an array.
        model: A posterior, such as dmgasr; see :func:`hsipipe.load_model`.
        cube: LR-HSI (band, y, x), as :func:`hsipipe.open_cube` gives it.
        samples: Number K of samples, at least 2; 19 have quantiles of 5 and 95 %.
        full_scale: Value of the cube that maps to 1.0.
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile.
        msi: HR-MSI of the same ground, for a fusion model.

    Raises:
        ParamsError: Less than two samples, or a model that draws none.
        DataError: The values of the cube are out of range, the memory is too small, or values of the function differ
            in shape.
    """
    if samples < 2:
        raise ParamsError(f"Got {samples} sample, expected at least 2: one has no spread.")
    if not (isinstance(model, SampleResolver) and model.varies):
        raise ParamsError(f"{model.name} draws no samples; take a posterior such as dmgasr.")
    given = prepare(model, cube, name="the cube", full_scale=full_scale, msi=msi)
    need = 2 * samples * given.lr.nbytes * model.scale**2
    check_memory(need, what=f"{samples} samples of this cube", advice="take fewer samples, or a part of the cube")
    place: dict[str, Any] = {"tile": tile, "overlap": overlap, "msi": given.msi}
    prediction = predict_scene(given.model, given.lr, **place)
    sampler: Any = given.model
    drawn = draw_scene(sampler, given.lr, count=samples, **place)
    return _collected(function, given.wrap(prediction), (given.wrap(sample) for sample in drawn))


def of_samples(function: Function, prediction: xr.DataArray, samples: Iterable[xr.DataArray]) -> Distribution:
    """Evaluate a function on samples that ``hsipipe predict --keep-samples`` has written.

    Args:
        function: Maps a cube to a number or an array.
        prediction: The prediction (band, y, x).
        samples: The samples, as iterating over an array (sample, band, y, x) gives them.

    Raises:
        DataError: Less than two samples, or values of different shapes.
    """
    return _collected(function, prediction, samples)


def band_at(cube: xr.DataArray, wavelength_nm: float) -> xr.DataArray:
    """Return the band (y, x) with the centre nearest to a wavelength.

    Raises:
        DataError: The cube has no wavelengths.
    """
    if "wavelength_nm" not in cube.coords:
        raise DataError("The cube has no wavelengths; select its bands by number, as cube[30].")
    return cube[int(np.abs(cube["wavelength_nm"].to_numpy() - wavelength_nm).argmin())]


def _collected(function: Function, prediction: xr.DataArray, samples: Iterable[xr.DataArray]) -> Distribution:
    values = [np.asarray(function(sample), dtype=np.float64) for sample in samples]
    if len(values) < 2:
        raise DataError(f"Got {len(values)} sample, expected at least 2.")
    if len({value.shape for value in values}) > 1:
        shapes = sorted({value.shape for value in values})
        raise DataError(f"The function gave values of the shapes {shapes}, expected one shape for all samples.")
    return Distribution(np.stack(values), np.asarray(function(prediction), dtype=np.float64))
