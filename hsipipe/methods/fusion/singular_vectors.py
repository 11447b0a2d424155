"""The spectral subspace of a scene by the singular vectors of its LR-HSI."""

import numpy as np
from numpy.typing import NDArray

from hsipipe.methods.fusion.whole_scene import pixels
from hsipipe.methods.super_resolver import Batch

# Share of the largest power up to which a power may be a rounding error of float32.
_NOTHING = 1e-12


def singular_vectors(lr: Batch, components: int) -> NDArray[np.float32]:
    """Compute the first singular vectors of the spectra (C, h, w), (C, p), not centred.

    Directions without power, such as a dead band, are excluded: the data do not constrain their coefficients.
    """
    spectra = pixels(lr).astype(np.float64)
    powers, vectors = np.linalg.eigh(spectra @ spectra.T)
    count = max(1, min(components, int((powers > _NOTHING * powers[-1]).sum())))
    # eigh sorts ascending.
    return np.ascontiguousarray(vectors[:, ::-1][:, :count], dtype=np.float32)
