import math
from dataclasses import replace

import pytest
import torch

from hsipipe.diffusion.consistency import PairObservation, Resampler
from hsipipe.methods.fusion.setup import Given
from hsipipe.methods.hsrdiff import ObservationLossParams, observation_loss
from hsipipe.methods.losses import cube_loss, gradient_difference, published_loss, spectral_angle, whole_cells
from hsipipe.params import GaeLossParams, PublishedLossParams


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


@pytest.mark.parametrize("shape", [(1, 5, 5), (4, 1, 5), (4, 5, 1)])
def test_an_axis_of_one_entry_has_no_differences_and_no_nan(shape):
    x, y = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    weights = PublishedLossParams(l1=1.0, sam=0.1, gradient=0.1, squares=0.1, variation=0.1, edges=0.1)
    published_loss(x, y, weights).backward()
    assert torch.isfinite(x.grad).all()
    kept = [dim for dim in (1, 2, 3) if x.shape[dim] > 1]
    expected = sum((x.diff(dim=dim) - y.diff(dim=dim)).abs().mean().item() for dim in kept) / 3
    assert gradient_difference(x, y).item() == pytest.approx(expected)


def test_the_terms_add_up():
    x, y = torch.rand(2, 1, 6, 5, 5)
    weights = GaeLossParams(l1=1.0, sam=0.3, gradient=0.1, perceptual=0.0)
    expected = (x - y).abs().mean() + 0.3 * spectral_angle(x, y) + 0.1 * gradient_difference(x, y)
    torch.testing.assert_close(cube_loss(x, y, weights), expected)


def test_an_lr_pixel_with_a_hole_is_compared_with_nothing():
    """Its value is of a part of the ground that a degraded estimate covers."""
    rng = torch.Generator().manual_seed(0)
    hr, sr = torch.rand(2, 1, 4, 16, 16, generator=rng)
    valid = torch.ones(1, 1, 16, 16, dtype=torch.uint8)
    valid[..., 4:7, 9] = 0
    cells = whole_cells(valid, 4)
    assert cells.shape == (1, 1, 4, 4)
    assert torch.argwhere(cells[0, 0] == 0).tolist() == [[1, 2]]
    assert whole_cells(None, 4) is None
    response = torch.full((2, 4), 0.25)
    pair = PairObservation(
        torch.rand(1, 4, 4, 4, generator=rng),
        torch.rand(1, 2, 16, 16, generator=rng),
        Resampler(16, 16, scale=4, like=hr),
        response,
        torch.zeros(1, 4, 2),
    )
    strange = replace(pair, lr=pair.lr + 5 * (cells == 0))
    weights = ObservationLossParams(truth=1.0, lr=1.0, msi=1.0)

    def loss(pair, valid):
        return observation_loss(sr, hr, Given(pair, hr, hr, None), weights, valid)

    assert torch.equal(loss(pair, valid), loss(strange, valid))
    assert loss(pair, None) < loss(strange, None)
    assert torch.equal(loss(pair, None), loss(pair, torch.ones_like(valid)))
