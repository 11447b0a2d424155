import importlib.util

import pytest

from hsipipe.errors import MissingInputError
from hsipipe.training.perceptual import PerceptualLoss


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_without_the_extra_the_error_says_how_to_get_it():
    with pytest.raises(MissingInputError, match=r"EXTRAS=test,perceptual.*set gae.standard.loss.perceptual to 0"):
        PerceptualLoss()
