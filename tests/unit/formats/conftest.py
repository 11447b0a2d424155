import numpy as np
import pytest


@pytest.fixture
def cube_values():
    """(band, y, x) with three different sizes."""
    return np.random.default_rng(0).random((5, 8, 12), dtype=np.float32)
