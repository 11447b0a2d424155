"""Paris by EO-1: Hyperion (128 bands) and ALI (9 bands) of one pass; real, without ground truth.

The demonstration pair of HySure (Simoes et al., 2015), distributed with its code: Hyperion 72 x 72 pixels and the 9
bands of ALI, co-registered on one grid of 30 m. A second file of the same authors, with the panchromatic band of ALI,
holds part of the same Hyperion pixels. It is not used, since the training data would overlap with the test data.

No better measurement of the scene exists, so its Hyperion cube is the reference at reduced resolution (Wald's
protocol): it is degraded and recovered, and the scores do not apply to a GSD of 10 m.
"""

from pathlib import Path

import numpy as np

from hsipipe.datasets.base import Dataset, Measured
from hsipipe.datasets.download import Archive

_AT = "https://raw.githubusercontent.com/alfaiate/HySure/e2a3daf2350dd8e136165d3d737a429a73938496/data"
# Runs of Hyperion bands in the files (their `non_del_bands`), each with the centres in nm of its first and last band
# (USGS, EO-1 Hyperion spectral coverage). In between, the published centres are evenly spaced to 0.1 nm.
_KEPT = (
    (8, 56, 426.82, 915.23),
    (83, 96, 972.99, 1104.19),
    (102, 118, 1164.68, 1326.05),
    (135, 162, 1497.63, 1769.99),
    (194, 196, 2092.84, 2113.04),
    (202, 214, 2173.53, 2294.61),
    (216, 219, 2314.81, 2345.11),
)
_MSI_SCALE = 1.5  # the maximum is 1.45


class ParisDataset(Dataset):
    """One MATLAB file, ``*hs_ms.mat``."""

    def scene_name(self, path: Path) -> str:
        """Return ``hs_ms`` for any prefix of the file name."""
        return "hs_ms"

    def msi(self, scene: str, path: Path) -> Measured | None:
        """Return the nine bands of ALI."""
        return Measured(path, self.location(scene, path), "MSim", _MSI_SCALE)


PARIS_EO1 = ParisDataset(
    name="paris_eo1",
    title="Paris by EO-1, Hyperion and ALI",
    licence="public domain (USGS)",
    terms="cite the paper; the files come with HySure, whose code is under GPL-3.0",
    doi="10.1109/TGRS.2014.2375320",
    bands=128,
    wavelength_nm=tuple(
        round(float(nm), 2)
        for first, last, from_nm, to_nm in _KEPT
        for nm in np.linspace(from_nm, to_nm, last - first + 1)
    ),
    gsd_m=30.0,
    scale=1.3,  # the maximum is 1.28
    layout="paris_data_hs_ms.mat with HSim 72 x 72 x 128 and MSim 72 x 72 x 9",
    archives=(
        # No published digest: trust on first use. The URL names a commit, so its content should never change.
        Archive(url=f"{_AT}/paris_data_hs_ms.mat", sha256=None, size_bytes=2_899_131),
    ),
    patterns=("paris*hs_ms.mat",),
    variable="HSim",
    ground_truth=False,
)
