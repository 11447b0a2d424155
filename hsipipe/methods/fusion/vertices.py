"""Vertex component analysis: extreme spectra of an image."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# A pixel whose distance from the span of the endmembers is below this share of the largest norm adds no direction.
_IN_SPAN = 1e-6


def vertices(spectra: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Choose extreme spectra (C, count) of `spectra` (C, n) by vertex component analysis without its projection.

    Each vertex is the pixel with the largest component along a random direction orthogonal to all vertices chosen
    before. An appended coordinate of ones allows a dark pixel to be a vertex, too.
    """
    points = np.concatenate([spectra, np.ones((1, spectra.shape[1]))]).astype(np.float64)
    smallest = _IN_SPAN * float(np.linalg.norm(points, axis=0).max())
    span = np.zeros((len(points), 0))
    chosen = []
    for _ in range(count):
        direction = generator.standard_normal(len(points))
        direction -= span @ (span.T @ direction)
        chosen.append(int(np.argmax(np.abs(direction @ points))))
        new = points[:, chosen[-1]]
        # Orthogonalise twice: for similar spectra, a single pass leaves rounding errors.
        for _ in range(2):
            new = new - span @ (span.T @ new)
        length = float(np.linalg.norm(new))
        if length > smallest:
            span = np.concatenate([span, new[:, None] / length], axis=1)
    return spectra[:, chosen]
