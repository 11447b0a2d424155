"""Pavia University: airborne scene of a campus, 103 bands of ROSIS (flown by DLR in 2002, provided by P. Gamba, Pavia).

The version of the computational intelligence group of the University of the Basque Country: without the strips that
hold no data, 610 x 340 pixels.
"""

import numpy as np

from hsipipe.datasets.base import Dataset
from hsipipe.datasets.download import Archive

BANDS = 103

PAVIA_UNIVERSITY = Dataset(
    name="pavia_university",
    title="Pavia University",
    licence="none stated",
    terms="acknowledge P. Gamba, Telecommunications and Remote Sensing Laboratory, University of Pavia",
    doi="https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes",
    bands=BANDS,
    # The file has no wavelengths: evenly spaced over the published range, off by a few nm because noisy bands were
    # removed.
    wavelength_nm=tuple(np.linspace(430.0, 860.0, BANDS).round(2).tolist()),
    gsd_m=1.3,
    scale=8000.0,  # the values are clipped there
    layout="PaviaU.mat with the array paviaU, 610 x 340 x 103",
    archives=(
        Archive(
            url="https://www.ehu.eus/ccwintco/uploads/e/ee/PaviaU.mat",
            # No published digest: trust on first use.
            sha256=None,
            size_bytes=33_200_000,
        ),
    ),
    patterns=("[Pp]avia[Uu].mat",),
    scene="pavia_university",
    variable="paviaU",
)
