"""A truth, its LR cube, and a prediction, in files."""

import pytest
from viewer_files import write_files


@pytest.fixture
def files(tmp_path):
    """Path by role: low, ours and truth."""
    return write_files(tmp_path)
