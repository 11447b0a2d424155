"""MATLAB's imresize against torch's interpolation on a symmetrically padded image, which equals it."""

import numpy as np
import pytest
import torch

from hsipipe.degradation.bicubic import downsample, upsample

SCALES = (2, 3, 4, 8)


def _torch_resize(x, factor, pad, crop):
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)), mode="symmetric")
    tensor = torch.from_numpy(padded)[None]
    out = torch.nn.functional.interpolate(tensor, scale_factor=factor, mode="bicubic", antialias=True)
    return out[0, :, crop:-crop, crop:-crop].numpy()


@pytest.fixture
def image():
    return np.random.default_rng(0).random((3, 96, 72))


@pytest.mark.parametrize("scale", SCALES)
def test_down(image, scale):
    expected = _torch_resize(image, 1 / scale, 3 * scale, 3)
    np.testing.assert_allclose(downsample(image, scale), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_up(image, scale):
    expected = _torch_resize(image, scale, 3, 3 * scale)
    np.testing.assert_allclose(upsample(image, scale), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_image_smaller_than_the_kernel(scale):
    image = np.random.default_rng(1).random((1, scale, 2 * scale))
    assert downsample(image, scale).shape == (1, 1, 2)
    np.testing.assert_allclose(upsample(np.full((1, 1, 2), 0.3), scale), 0.3, rtol=1e-12)
