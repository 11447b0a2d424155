import numpy as np
import pytest

from hsipipe.bands import band_label


@pytest.mark.parametrize(
    ("index", "wavelength_nm", "label"),
    [
        (2, [400.0, 410.0, 420.0], "band 3 (420 nm)"),
        (0, np.array([657.142857]), "band 1 (657.143 nm)"),
        (2, None, "band 3"),
        (2, [], "band 3"),
        (1, np.array([400.0, np.nan]), "band 2"),
    ],
)
def test_bands_count_from_one(index, wavelength_nm, label):
    assert band_label(index, wavelength_nm) == label
