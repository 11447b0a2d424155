import math

import pytest
import torch

from hsipipe.methods.losses import cube_loss, gradient_difference, spectral_angle
from hsipipe.params import GaeLossParams


def test_spectral_angle_is_the_arccos_over_pi():
    x, y = torch.rand(2, 2, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    cosine = (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))
    assert float(spectral_angle(x, y)) == pytest.approx(float(cosine.acos().mean()) / math.pi, abs=1e-5)


def test_spectral_angle_has_a_finite_gradient_at_agreement_and_in_the_dark():
    x = torch.zeros(1, 4, 2, 2)
    x[..., 0] = 1
    x.requires_grad_()
    spectral_angle(x, x.detach()).backward()
    assert torch.isfinite(x.grad).all()


def test_gradient_term_sees_edges_and_not_offsets():
    x = torch.rand(1, 4, 6, 6)
    assert float(gradient_difference(x + 0.3, x)) == pytest.approx(0, abs=1e-6)
    assert float(gradient_difference(x * 2, x)) > 0


def test_the_terms_add_up():
    x, y = torch.rand(2, 1, 6, 5, 5)
    weights = GaeLossParams(l1=1.0, sam=0.3, gradient=0.1, perceptual=0.0)
    expected = (x - y).abs().mean() + 0.3 * spectral_angle(x, y) + 0.1 * gradient_difference(x, y)
    torch.testing.assert_close(cube_loss(x, y, weights), expected)
