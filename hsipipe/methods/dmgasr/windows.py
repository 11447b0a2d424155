"""Spectral windows in nm as band groups, and the resampling between a sensor's bands and the nodes of the windows.

Wavelength arithmetic only. A window is divided into `n_subs` cells of equal width; its nodes are the centres of the
cells. If the training bands are evenly spaced and a window is `n_subs` spacings wide, the nodes are the bands, and
the windows are the groups of :func:`hsipipe.methods.networks.groups.plan_groups`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray

from hsipipe.bands import band_label
from hsipipe.errors import DataError, ModelInputError

Nm = NDArray[np.float64]

_SAME_NM = 0.1
"""Band centres that differ by at most this many nm are the same, since files round them differently."""


@dataclass(frozen=True)
class WindowPlan:
    """Positions of the windows, fixed by the sensor that the model was trained on.

    Attributes:
        wavelength_nm: Band centres of the training sensor (C,).
        edges_nm: First and last wavelength of each of the G windows.
        n_subs: Nodes of a window.
    """

    wavelength_nm: tuple[float, ...]
    edges_nm: tuple[tuple[float, float], ...]
    n_subs: int

    @property
    def bands(self) -> int:
        """Band count C of the training sensor."""
        return len(self.wavelength_nm)

    @property
    def count(self) -> int:
        """Number of windows G."""
        return len(self.edges_nm)

    def nodes_nm(self, window: int) -> Nm:
        """Return the centres of a window's cells (n_subs,)."""
        low, high = self.edges_nm[window]
        return low + (np.arange(self.n_subs) + 0.5) * (high - low) / self.n_subs


@dataclass(frozen=True)
class Resampling:
    """Resampling from a sensor's C bands to the nodes of the U windows that it covers, and back.

    Attributes:
        wavelength_nm: Band centres of the sensor (C,).
        windows: The covered windows, a contiguous range.
        to_nodes: Linear interpolation (U * n_subs, C); each row sums to one.
        to_bands: Linear interpolation in each window, averaged over the windows that contain the band (C, U * n_subs);
            each row sums to one.
    """

    wavelength_nm: tuple[float, ...]
    windows: slice
    to_nodes: Nm
    to_bands: Nm


def plan_windows(wavelength_nm: Sequence[float], *, width_nm: float, n_subs: int, n_ovls: int) -> WindowPlan:
    """Divide the range of a sensor, extended by half a band at both ends, into overlapping windows.

    Neighbours share n_ovls / n_subs of the width; the last window is shifted back to end with the range. A range
    narrower than a window gives one window.

    Raises:
        DataError: The centres are unknown or do not increase, or a window is narrower than two bands.
    """
    nm = _checked(
        wavelength_nm, remedy="set dataset.folder.wavelength_nm or drop_bands, or gae.standard.window_nm: null"
    )
    low, high = _range(nm)
    if len(nm) < 2:
        raise DataError(f"window_nm is {width_nm:g}, but there is one band and no spectrum; set it to null.")
    spacing = float(np.median(np.diff(nm)))
    if width_nm < 2 * spacing - _SAME_NM:
        raise DataError(
            f"window_nm is {width_nm:g}, but the {len(nm)} bands lie {spacing:g} nm apart, and a window must hold "
            f"two of them; set it to n_subs times their distance, {n_subs * spacing:g}, or to null."
        )
    width = min(width_nm, high - low)
    step = width * (n_subs - n_ovls) / n_subs
    # Subtract a rounding error, which would otherwise add a window.
    count = 1 + max(0, ceil((high - low - width) / step - 1e-6))
    starts = [min(low + group * step, high - width) for group in range(count)]
    return WindowPlan(tuple(nm.tolist()), tuple((start, start + width) for start in starts), n_subs)


def plan_resampling(plan: WindowPlan, wavelength_nm: Sequence[float] | Nm) -> Resampling:
    """Plan the resampling for a sensor of any band count and any centres inside the trained range.

    A window is used if the sensor spans all of its nodes. The range of a sensor extends half a band spacing beyond its
    outer centres. Gaps between bands are interpolated linearly. Nothing is extrapolated.

    Args:
        plan: The trained windows.
        wavelength_nm: Band centres (C,), strictly increasing.

    Raises:
        DataError: The centres are unknown or do not increase.
        ModelInputError: A band is in none of the used windows; the message names such bands and how to remove them.
    """
    nm = _checked(wavelength_nm, remedy="give every band its centre in nm and sort them")
    first, last = _usable(plan, nm)
    if (first, last) != (0, len(nm)):
        raise ModelInputError(_refusal(plan, nm, first, last))
    windows = _spanned(plan, nm)
    used = range(plan.count)[windows]
    to_nodes = _interpolation(nm, np.concatenate([plan.nodes_nm(window) for window in used]))
    # Beyond its outer nodes a window only repeats their value, so it is used there only if no other window has nodes.
    between = np.stack([_inside(nm, plan.nodes_nm(window)) for window in used], axis=1)
    within = np.stack([_inside(nm, plan.edges_nm[window]) for window in used], axis=1)
    holds = np.where(between.any(axis=1, keepdims=True), between, within)
    shares = holds / holds.sum(axis=1, keepdims=True)
    parts = [_interpolation(plan.nodes_nm(window), nm) * shares[:, [at]] for at, window in enumerate(used)]
    return Resampling(tuple(nm.tolist()), windows, to_nodes, np.concatenate(parts, axis=1))


def same_centres(mine: Sequence[float] | Nm, other: Sequence[float] | Nm) -> bool:
    """Return True if two sensors have the same band centres."""
    return len(mine) == len(other) and bool(np.allclose(mine, other, rtol=0, atol=_SAME_NM))


def _checked(wavelength_nm: Sequence[float] | Nm, *, remedy: str) -> Nm:
    nm = np.asarray(wavelength_nm, dtype=np.float64).ravel()
    if not nm.size:
        raise DataError(f"The cube's wavelengths are unknown, and spectral windows need them; {remedy}.")
    if not np.isfinite(nm).all():
        unknown = band_label(int(np.argmin(np.isfinite(nm))))
        raise DataError(f"The wavelength of {unknown} is unknown, and spectral windows need all of them; {remedy}.")
    for band, (before, after) in enumerate(pairwise(nm), start=1):
        if after <= before:
            raise DataError(f"{band_label(band, nm)} follows {before:g} nm, expected increasing centres; {remedy}.")
    return nm


def _range(nm: Nm) -> tuple[float, float]:
    """Return the range of a sensor: half a band spacing beyond its outer centres."""
    steps = np.diff(nm) if len(nm) > 1 else np.zeros(1)
    return float(nm[0] - steps[0] / 2), float(nm[-1] + steps[-1] / 2)


def _spanned(plan: WindowPlan, nm: Nm) -> slice:
    """Return the windows whose nodes are all in the sensor's range."""
    low, high = _range(nm)
    nodes = [plan.nodes_nm(window) for window in range(plan.count)]
    used = [g for g, at in enumerate(nodes) if low - _SAME_NM <= at[0] and at[-1] <= high + _SAME_NM]
    return slice(used[0], used[-1] + 1) if used else slice(0, 0)


def _inside(nm: Nm, interval: Sequence[float] | Nm) -> NDArray[np.bool_]:
    """Mark the bands between the first and the last value of an interval."""
    result: NDArray[np.bool_] = (interval[0] - _SAME_NM <= nm) & (nm <= interval[-1] + _SAME_NM)
    return result


def _usable(plan: WindowPlan, nm: Nm) -> tuple[int, int]:
    """Return first and last (exclusive) band after removing all bands outside of the used windows."""
    first, last = 0, len(nm)
    while first < last:
        kept = nm[first:last]
        used = range(plan.count)[_spanned(plan, kept)]
        held = np.zeros(len(kept), dtype=bool)
        for window in used:
            held |= _inside(kept, plan.edges_nm[window])
        if held.all():
            break
        # Fewer bands may span fewer windows, so repeat.
        inside = np.flatnonzero(held)
        first, last = (first + int(inside[0]), first + int(inside[-1]) + 1) if inside.size else (0, 0)
    return first, last


def _refusal(plan: WindowPlan, nm: Nm, first: int, last: int) -> str:
    low, high = plan.edges_nm[0][0], plan.edges_nm[-1][1]
    trained = f"The model was trained on {low:g} to {high:g} nm, in windows of {plan.edges_nm[0][1] - low:g} nm"
    if first >= last:
        return (
            f"{trained}, and the cube's {len(nm)} bands from {nm[0]:g} to {nm[-1]:g} nm span none of them; "
            "train a model on a sensor that sees this part of the spectrum."
        )
    lost = [_bands(nm, start, stop) for start, stop in ((0, first), (last, len(nm))) if stop > start]
    return (
        f"{trained}, and {' and '.join(lost)} of the cube's {len(nm)} lie in no window that its bands span; "
        f"leave them out: hsipipe.save_cube(hsipipe.open_cube(IN).isel(band=slice({first}, {last})), OUT)."
    )


def _bands(nm: Nm, start: int, stop: int) -> str:
    if stop - start == 1:
        return band_label(start, nm)
    return f"bands {start + 1} to {stop} ({nm[start]:g} to {nm[stop - 1]:g} nm)"


def _interpolation(known: Nm, wanted: Nm) -> Nm:
    """Return the matrix (wanted, known) of the linear interpolation; beyond the ends it repeats the end values."""
    return np.stack([np.interp(wanted, known, unit) for unit in np.eye(len(known))], axis=1)
