"""UTV-TD: a sparse Tucker decomposition whose factors have a small total variation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.methods.fusion.vertices import vertices
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion, pixels
from hsipipe.methods.super_resolver import Batch
from hsipipe.params import Group, Positive

Floats = NDArray[np.float64]


class UtvTdSettings(Group):
    """Settings of UTV-TD."""

    turns: Positive
    """Largest number of updates of all factors, 60 as published."""


@dataclass(frozen=True)
class UtvTd(WholeSceneFusion):
    """Minimises the misfit to both images plus the l1 norm of the core K and the total variation of the factors.

    ``Z = K x1 D1 x2 D2 x3 D3`` has a dictionary for the rows, one for the columns and one for the spectra. The
    objective is ``|Y - Z D|^2 + |M - R Z|^2 + l |K|_1 + sum_i t_i TV(D_i)``, TV down the columns of D_i; K and each D_i
    are updated in turn, with a proximal term. Source: Xu et al. 2020, DOI 10.1109/JSTARS.2020.3012566. The PSF must be
    separable, as all PSFs here are.

    From the published code: weights, sizes and tolerances; thresholds of lambda mu / 2 where the ADMM of the paper has
    lambda / (2 mu). Reconstructed or different:

    - D1 and D2 start at the first singular vectors of the unfolded HR-MSI instead of dictionaries learned from it, K at
      zero. A dictionary has no more atoms than its side has pixels.
    - D3 starts at the pixels of the LR-HSI that a vertex component analysis chooses, K is scaled by an image of mean 1.
    - The conjugate gradients solve the step of D_i with its total variation term, and start at the previous D_i.

    Attributes:
        row_atoms: Atoms of D1, published for 512 pixels.
        column_atoms: Atoms of D2.
        spectra: Atoms of D3, limited by bands and LR pixels.
        turns: Largest number of updates of all factors.
        admm_steps: Largest number of ADMM steps of one update.
        tolerance: Relative change at which an update ends.
        sparsity: l.
        variation: t of D1, D2 and D3.
        seed: Seed of the vertex component analysis.
    """

    row_atoms: int = 280
    column_atoms: int = 300
    spectra: int = 12
    turns: int = 60
    admm_steps: int = 100
    tolerance: float = 1e-2
    sparsity: float = 1e-7
    variation: tuple[float, float, float] = (1e-8, 1e-4, 1e2)
    seed: int = 0

    KIND: ClassVar[str] = "utv-td"
    DESCRIPTION: ClassVar[str] = "UTV-TD: a sparse Tucker decomposition with smooth factors; needs no training."
    Settings = UtvTdSettings

    def working_bytes(self, bands: int) -> int:
        """See :meth:`WholeSceneFusion.working_bytes`: 14 images of the spectra's coefficients in float64."""
        return 11 * bands + 112 * self.spectra

    def fuse(self, lr: Batch, msi: Batch) -> NDArray[np.float32]:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        response = self.response_of(lr, msi)
        unit = float(np.abs(lr).mean(dtype=np.float64)) or 1.0
        # Axes in the order of the paper: row, column, band.
        low, high = (np.moveaxis(image.astype(np.float64) / unit, 0, -1) for image in (lr, msi))
        blurs = [self.psf.matrix(size, self.scale) for size in msi.shape[1:]]
        identity = np.eye
        # What maps a factor to its part of the LR-HSI and of the HR-MSI.
        to_low = [*blurs, identity(len(lr))]
        to_high = [*(identity(size) for size in msi.shape[1:]), response]
        factors = self._start(lr / unit, high)
        core = np.zeros([factor.shape[1] for factor in factors])
        for _ in range(self.turns):
            core = self._core(core, low, high, _mapped(to_low, factors), _mapped(to_high, factors))
            for axis in range(3):
                factors[axis] = self._factor(axis, core, factors, (low, to_low), (high, to_high))
        core = self._core(core, low, high, _mapped(to_low, factors), _mapped(to_high, factors))
        cube = np.moveaxis(_product(core, factors), -1, 0)
        return np.asarray(unit * cube, dtype=np.float32)

    def _start(self, lr: Batch, high: Floats) -> list[Floats]:
        rows, columns = (
            np.linalg.svd(_unfold(high, axis), full_matrices=False)[0][:, :count]
            for axis, count in enumerate((self.row_atoms, self.column_atoms))
        )
        count = min(self.spectra, *pixels(lr).shape)
        return [rows, columns, vertices(pixels(lr), count, np.random.default_rng(self.seed)).astype(np.float64)]

    def _core(self, core: Floats, low: Floats, high: Floats, in_low: list[Floats], in_high: list[Floats]) -> Floats:
        """Update K by an ADMM with a copy of it for each image, for which the misfit is diagonal."""
        solves = [_least_squares(image, mapped) for image, mapped in ((low, in_low), (high, in_high))]
        duals, start = [np.zeros_like(core)] * 2, core
        for _ in range(self.admm_steps):
            copies = [solve(core - dual) for solve, dual in zip(solves, duals, strict=True)]
            pulled = sum(_PENALTY * (copy + dual) for copy, dual in zip(copies, duals, strict=True))
            new = _shrunk((pulled + _PROXIMAL * start) / (2 * _PENALTY + _PROXIMAL), self.sparsity * _PENALTY / 2)
            duals = [dual + copy - new for dual, copy in zip(duals, copies, strict=True)]
            if _still(new, core, self.tolerance):
                return new
            core = new
        return core

    def _factor(
        self,
        axis: int,
        core: Floats,
        factors: list[Floats],
        low: tuple[Floats, list[Floats]],
        high: tuple[Floats, list[Floats]],
    ) -> Floats:
        """Update D_axis by an ADMM that splits off its differences."""
        start, terms, right = factors[axis], [], _PROXIMAL * factors[axis]
        for image, mapping in (low, high):
            others = [None if one == axis else to @ factors[one] for one, to in enumerate(mapping)]
            part, own = _unfold(_product(core, others), axis), mapping[axis]
            terms.append((own.T @ own, part @ part.T))
            right = right + own.T @ _unfold(image, axis) @ part.T

        def apply(factor: Floats) -> Floats:
            out = _PROXIMAL * factor + _PENALTY * _adjoint(np.diff(factor, axis=0))
            return out + sum(left @ factor @ gram for left, gram in terms)

        factor, dual, edges = start, np.zeros_like(start[1:]), np.diff(start, axis=0)
        for _ in range(self.admm_steps):
            new = _conjugate_gradients(apply, right + _PENALTY * _adjoint(edges - dual), factor)
            edges = _shrunk(np.diff(new, axis=0) + dual, self.variation[axis] * _PENALTY / 2)
            dual = dual + np.diff(new, axis=0) - edges
            if _still(new, factor, self.tolerance):
                return new
            factor = new
        return factor


_PENALTY = 1e-2
"""mu of the ADMM."""
_PROXIMAL = 1e-2
"""Weight of the distance to the last value of what is updated."""
_CG_STEPS, _CG_TOLERANCE = 40, 1e-6


def _unfold(tensor: Floats, axis: int) -> Floats:
    """Unfold a tensor to a matrix whose rows run along an axis."""
    return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)


def _product(core: Floats, factors: "list[Floats] | list[Floats | None]") -> Floats:
    """Multiply each axis of the core by a factor; None leaves an axis."""
    for axis, factor in enumerate(factors):
        if factor is not None:
            core = np.moveaxis(np.tensordot(factor, core, axes=(1, axis)), 0, axis)
    return core


def _mapped(mappings: list[Floats], factors: list[Floats]) -> list[Floats]:
    return [mapping @ factor for mapping, factor in zip(mappings, factors, strict=True)]


def _least_squares(image: Floats, factors: list[Floats]) -> Callable[[Floats], Floats]:
    """Return the minimiser V of ``|image - V x factors|^2 + mu |V - near|^2`` as a function of `near`."""
    pairs = [np.linalg.eigh(factor.T @ factor) for factor in factors]
    turned = [vectors.T for _, vectors in pairs]
    rows, columns, bands = (values for values, _ in pairs)
    gains = rows[:, None, None] * columns[:, None] * bands + _PENALTY
    right = _product(image, [vectors.T @ factor.T for (_, vectors), factor in zip(pairs, factors, strict=True)])

    def solve(near: Floats) -> Floats:
        return _product((right + _PENALTY * _product(near, turned)) / gains, [vectors for _, vectors in pairs])

    return solve


def _conjugate_gradients(apply: Callable[[Floats], Floats], right: Floats, start: Floats) -> Floats:
    x, rest = start, right - apply(start)
    direction, power = rest, float(np.vdot(rest, rest))
    enough = _CG_TOLERANCE**2 * float(np.vdot(right, right))
    for _ in range(_CG_STEPS):
        if power <= enough:
            break
        image = apply(direction)
        step = power / float(np.vdot(direction, image))
        x, rest = x + step * direction, rest - step * image
        power, last = float(np.vdot(rest, rest)), power
        direction = rest + power / last * direction
    return x


def _adjoint(edges: Floats) -> Floats:
    """Apply the adjoint of the differences down the columns, (n - 1, k) to (n, k)."""
    none = np.zeros_like(edges[:1])
    return -np.diff(np.concatenate([none, edges, none]), axis=0)


def _shrunk(values: Floats, threshold: float) -> Floats:
    return np.asarray(np.sign(values) * np.maximum(np.abs(values) - threshold, 0))


def _still(new: Floats, old: Floats, tolerance: float) -> bool:
    """Return True if the relative change is below the tolerance."""
    return float(np.linalg.norm(new - old)) <= tolerance * float(np.linalg.norm(old))
