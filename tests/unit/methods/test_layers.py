"""A pixel shuffle without checkerboards."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.inference.guard import added_detail
from hsipipe.methods.base import Frame
from hsipipe.methods.catalogue import method_settings
from hsipipe.methods.networks.layers import GridlessShuffle, window_mean
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.params import load_params


@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))
def test_a_pattern_that_repeats_with_every_pixel_is_levelled(scale, features, height, width):
    torch.manual_seed(0)
    phases = torch.randn(1, features * scale**2, 1, 1).expand(-1, -1, height, width)
    image = GridlessShuffle(scale)(phases)
    assert image.shape == (1, features, scale * height, scale * width)
    mean = phases.unflatten(1, (features, -1)).mean(dim=2)
    torch.testing.assert_close(image, mean.repeat_interleave(scale, 2).repeat_interleave(scale, 3))


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3, 5, 9]))
def test_the_mean_of_a_window_is_that_of_its_pixels_inside_of_the_image(height, width, window):
    torch.manual_seed(0)
    image, half = torch.randn(2, 3, height, width), window // 2
    mean = window_mean(image, window)
    for y, x in {(0, 0), (height // 2, width // 2), (height - 1, 0), (height - 1, width - 1)}:
        part = image[:, :, max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
        torch.testing.assert_close(mean[:, :, y, x], part.mean(dim=(2, 3)), atol=1e-5, rtol=1e-4)


def test_detail_of_another_period_stays():
    rows = torch.arange(64.0)
    image = torch.sin(2 * torch.pi * rows / 10)[None, None, :, None].expand(1, 1, 64, 64)
    kept = GridlessShuffle(4)(torch.nn.functional.pixel_unshuffle(image, 4))
    assert float((kept - image).square().mean() / image.square().mean()) < 0.02


@pytest.fixture
def settings(repository):
    """A function that gives the settings of a small pca-residual."""

    def make(**sizes):
        settings = method_settings(load_params(repository / "params.yaml"), "pca-residual")
        return settings.model_copy(update={"width": 8, "blocks": 1, **sizes})

    return make


def test_a_random_network_draws_no_checkerboard(settings):
    torch.manual_seed(0)
    model = PcaResidual(Frame(8, 4), settings(components=5))
    model.set_components(torch.rand(100, 8), 0.1 * torch.randn(100, 8))
    torch.nn.init.normal_(model.tail.weight, std=0.3)
    torch.nn.init.normal_(model.tail.bias, std=1.0)
    lr = np.random.default_rng(0).random((8, 32, 32), dtype=np.float32)
    _, grid = added_detail(lr, model.eval().predict(lr[None])[0], scale=4, psf=model.psf)
    assert grid.max() < 0.1


def test_spectra_that_the_training_lacks_are_not_amplified(settings):
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6))[0]
    spectra = torch.randn(500, 6) * torch.tensor([1.0, 0.1, 1e-5, 1e-5, 1e-5, 1e-5]) @ basis.T
    model = PcaResidual(Frame(6, 2), settings(components=6))
    model.set_components(spectra, 0.1 * spectra)
    seen = []
    model.head.register_forward_hook(lambda layer, given, output: seen.append(float(given[0].abs().max())))
    noise = 1e-3 * torch.randn(1, 6, 4, 4)
    model(noise)
    model(100 + noise)
    assert seen[0] < 1.0
    assert seen[1] == 4.0
