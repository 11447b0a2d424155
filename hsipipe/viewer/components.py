"""Represent a cube by few components of its spectra, in steps that are far below what the eye or a metric sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import DataError
from hsipipe.viewer.packing import pack, pack_floats, unpack, unpack_floats

_MOST = 1 << 28
"""Largest code; the differences of four neighbours still fit into 32 bits."""
_BLOCK = 1 << 14


@dataclass(frozen=True, eq=False)
class Components:
    """A cube of C bands as K components; ``value = mean + step * sum_k code_k * basis_k``.

    Attributes:
        mean: Mean spectrum (C,) float32.
        basis: Orthonormal spectra (K, C) float32.
        codes: Coefficients in steps (K, h, w) int32; zero where there is no value.
        step: Size of a step, in the units of the cube.
        valid: Pixels with a value in every band (h, w).
        rms_error: Root mean square difference to the cube.
        max_error: Largest difference to the cube.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    codes: NDArray[np.int32]
    step: float
    valid: NDArray[np.bool_]
    rms_error: float
    max_error: float

    def cube(self) -> NDArray[np.float32]:
        """Return the cube (C, h, w); NaN where there is no value."""
        flat = self.codes.reshape(len(self.codes), -1).astype(np.float32) * np.float32(self.step)
        values: NDArray[np.float32] = (self.basis.T @ flat + self.mean[:, None]).astype(np.float32)
        values = values.reshape(len(self.mean), *self.codes.shape[1:])
        values[:, ~self.valid] = np.nan
        return values

    def as_tree(self) -> dict[str, Any]:
        """Return the components as JSON, packed as the viewer reads them."""
        count, height, width = self.codes.shape
        return {
            "bands": len(self.mean),
            "height": height,
            "width": width,
            "count": count,
            "step": self.step,
            "error": [self.rms_error, self.max_error],
            "mean": pack_floats(self.mean),
            "basis": pack_floats(self.basis),
            "planes": pack(self.codes),
            "valid": None if self.valid.all() else pack(self.valid[None].astype(np.int32)),
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Self:
        """Return the components that :meth:`as_tree` wrote.

        Raises:
            FileFormatError: A plane is not packed, or has another size.
            KeyError: A field is missing.
        """
        count, bands, height, width = (int(tree[key]) for key in ("count", "bands", "height", "width"))
        rms_error, max_error = (float(value) for value in tree["error"])
        whole = np.ones((height, width), np.bool_)
        return cls(
            mean=unpack_floats(tree["mean"], (bands,)),
            basis=unpack_floats(tree["basis"], (count, bands)),
            codes=unpack(tree["planes"], (count, height, width)),
            step=float(tree["step"]),
            valid=whole if tree["valid"] is None else unpack(tree["valid"], (1, height, width))[0] > 0,
            rms_error=rms_error,
            max_error=max_error,
        )


def compress(cube: NDArray[np.floating[Any]], step: float) -> Components:
    """Represent a cube by its principal components.

    Components are dropped as long as what they hold is below the noise of the quantisation.

    Args:
        cube: Values (C, h, w). A pixel that is not finite in every band has no value.
        step: Size of a quantisation step, in the units of the cube; :func:`fine_step` chooses one.

    Raises:
        DataError: No pixel has a value, or `step` is not positive.
    """
    if not step > 0:
        raise DataError(f"The step of a quantisation must be positive, got {step:g}.")
    bands, height, width = cube.shape
    flat = cube.reshape(bands, -1)
    valid = np.isfinite(flat).all(axis=0)
    pixels = flat[:, valid].astype(np.float32)
    if not pixels.size:
        raise DataError("No pixel has a value in every band, expected at least one; drop the bands without data.")
    mean = pixels.mean(axis=1, dtype=np.float64).astype(np.float32)
    pixels -= mean[:, None]
    basis = _basis(pixels, step)
    found = np.clip(np.rint(basis @ pixels / step), -_MOST, _MOST).astype(np.int32)
    largest, total = 0.0, 0.0
    for start in range(0, pixels.shape[1], _BLOCK):
        part = np.s_[:, start : start + _BLOCK]
        apart = np.abs(basis.T @ (found[part].astype(np.float32) * np.float32(step)) - pixels[part])
        largest, total = max(largest, float(apart.max())), total + float(np.square(apart, dtype=np.float64).sum())
    codes = np.zeros((len(basis), valid.size), np.int32)
    codes[:, valid] = found
    return Components(
        mean=mean,
        basis=basis,
        codes=codes.reshape(-1, height, width),
        step=float(step),
        valid=valid.reshape(height, width),
        rms_error=(total / pixels.size) ** 0.5,
        max_error=largest,
    )


def fine_step(cube: NDArray[np.floating[Any]], parts: int = 512) -> float:
    """Return a step of a part of the range between the 0.5th and the 99.5th percentile; 1 / parts of a constant."""
    known = cube[np.isfinite(cube)]
    if not known.size:
        return 1.0 / parts
    low, high = np.percentile(known, (0.5, 99.5))
    return float(high - low or abs(high) or 1.0) / parts


def _basis(pixels: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Principal components (K, C) of centred pixels (C, N); at least one."""
    bands, count = pixels.shape
    covariance = np.zeros((bands, bands))
    for start in range(0, count, _BLOCK):
        part = pixels[:, start : start + _BLOCK].astype(np.float64)
        covariance += part @ part.T
    values, vectors = np.linalg.eigh(covariance / count)
    dropped = np.cumsum(np.maximum(values, 0))  # ascending: what is lost without the first of them
    most = step**2 / 12 * bands
    kept = max(1, bands - int(np.searchsorted(dropped, most, side="right")))
    basis = vectors[:, ::-1][:, :kept].T
    # The sign of an eigenvector is arbitrary, and a page must not depend on the machine.
    signs = np.sign(basis[np.arange(kept), np.abs(basis).argmax(axis=1)])
    return np.ascontiguousarray(basis * signs[:, None], dtype=np.float32)
