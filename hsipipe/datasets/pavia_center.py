"""Pavia Centre: airborne scene of a town, 102 bands of ROSIS (flown by DLR in 2002, provided by P. Gamba, Pavia).

The version of the computational intelligence group of the University of the Basque Country: without two strips that
hold no data, 1096 x 715 pixels.
"""

import numpy as np

from hsipipe.datasets.base import Dataset
from hsipipe.datasets.download import Archive

BANDS = 102

PAVIA_CENTER = Dataset(
    name="pavia_center",
    title="Pavia Centre",
    licence="none stated",
    terms="acknowledge P. Gamba, Telecommunications and Remote Sensing Laboratory, University of Pavia",
    doi="https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes",
    bands=BANDS,
    # The file has no wavelengths: evenly spaced over the published range, off by a few nm because noisy bands were
    # removed.
    wavelength_nm=tuple(np.linspace(430.0, 860.0, BANDS).round(2).tolist()),
    gsd_m=1.3,
    scale=8000.0,  # the values are clipped there
    layout="Pavia.mat with the array pavia, 1096 x 715 x 102",
    archives=(
        Archive(
            url="https://www.ehu.eus/ccwintco/uploads/e/e3/Pavia.mat",
            # No published digest: trust on first use.
            sha256=None,
            size_bytes=123_600_000,
        ),
    ),
    patterns=("[Pp]avia.mat",),
    scene="pavia_center",
    variable="pavia",
)
