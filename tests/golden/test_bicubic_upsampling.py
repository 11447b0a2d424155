"""MATLAB's imresize against two independent implementations: torch's interpolation on a symmetrically padded
image, which equals it, and its definition, pixel by pixel.
"""

from math import ceil, floor

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


def _keys_cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def _mirrored(index, size):
    while not 0 <= index < size:
        index = -1 - index if index < 0 else 2 * size - 1 - index
    return index


def _by_definition(line, n_out):
    """One line of imresize; the kernel is stretched by the scale where the line shrinks."""
    n_in = len(line)
    stretch = max(1.0, n_in / n_out)
    out = []
    for target in range(n_out):
        centre = (target + 0.5) * n_in / n_out - 0.5
        near = range(floor(centre - 2 * stretch) - 1, ceil(centre + 2 * stretch) + 2)
        weights = [_keys_cubic((centre - source) / stretch) for source in near]
        values = [line[_mirrored(source, n_in)] for source in near]
        out.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return np.array(out)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (3, 1)])
def test_down_and_up_by_definition(scale, shape):
    low = np.random.default_rng(2).random(shape)
    high = np.random.default_rng(3).random((shape[0] * scale, shape[1] * scale))
    for image, result in ((low, upsample(low, scale)), (high, downsample(high, scale))):
        rows = np.apply_along_axis(_by_definition, 0, image, result.shape[0])
        expected = np.apply_along_axis(_by_definition, 1, rows, result.shape[1])
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)
