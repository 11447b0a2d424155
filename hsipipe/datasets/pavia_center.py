"""Pavia Centre: a town from the air, 102 bands of ROSIS (flown by DLR in 2002, given by P. Gamba, Pavia).

As the computational intelligence group of the University of the Basque Country hands it out: two strips without
data are cut away, which leaves 1096 x 715 pixels.
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
    # The file has no list of them: evenly over the published range, which noisy bands that were taken out make
    # wrong by a few nm.
    wavelength_nm=tuple(np.linspace(430.0, 860.0, BANDS).round(2).tolist()),
    gsd_m=1.3,
    scale=8000.0,  # the values are cut off there
    layout="Pavia.mat with the array pavia, 1096 x 715 x 102",
    archives=(
        Archive(
            url="https://www.ehu.eus/ccwintco/uploads/e/e3/Pavia.mat",
            # The publisher gives no digest: it is taken from the first download and enforced from then on.
            sha256=None,
            size_bytes=123_600_000,
        ),
    ),
    patterns=("[Pp]avia.mat",),
    scene="pavia_center",
    variable="pavia",
)
