import numpy as np
import torch

from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import Resampler, back_project


def test_resampler_is_the_projects_degradation():
    cube = np.random.default_rng(0).random((5, 24, 32))
    tensor = torch.from_numpy(cube)
    resampler = Resampler(24, 32, scale=4, like=tensor)
    np.testing.assert_allclose(resampler.down(tensor).numpy(), downsample(cube, 4), atol=1e-12)
    np.testing.assert_allclose(
        resampler.up(resampler.down(tensor)).numpy(), upsample(downsample(cube, 4), 4), atol=1e-12
    )


def test_back_projection_makes_the_output_consistent_and_keeps_consistent_ones():
    rng = np.random.default_rng(1)
    truth = torch.from_numpy(rng.random((3, 32, 32)))
    resampler = Resampler(32, 32, scale=4, like=truth)
    lr = resampler.down(truth)
    wrong = truth + 0.1 * torch.from_numpy(rng.standard_normal((3, 32, 32)))

    def gap(sr):
        return float((resampler.down(sr) - lr).square().mean())

    gaps = [gap(back_project(wrong, lr, resampler=resampler, iterations=n)) for n in (0, 1, 2, 4, 8)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3 * gaps[0]
    torch.testing.assert_close(back_project(truth, lr, resampler=resampler, iterations=3), truth)


def test_at_scale_one_interpolation_is_exactly_the_identity():
    cube = torch.randn(3, 24, 17, generator=torch.Generator().manual_seed(0))
    resampler = Resampler(24, 17, scale=1, like=cube, psf=Psf("gaussian", sigma=1.0))
    assert torch.equal(resampler.up(cube), cube)
    assert not torch.allclose(resampler.down(cube), cube, atol=0.1)
