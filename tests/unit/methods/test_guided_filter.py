import torch

from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import Resampler
from hsipipe.methods.fusion.guided_filter import guided_upsample


def test_what_is_a_local_function_of_the_guide_is_recovered():
    generator = torch.Generator().manual_seed(0)
    fine = torch.rand(1, 2, 32, 32, generator=generator)
    resampler = Resampler(32, 32, scale=4, like=fine, psf=Psf("average"))
    truth = torch.stack([2 * fine[:, 0] - fine[:, 1] + 0.5, 0.3 * fine[:, 1]], dim=1)
    z = resampler.down(truth)
    prior = torch.zeros(1, 2, 2)
    got = guided_upsample(z, resampler.down(fine), fine, radius=1, prior=prior)
    torch.testing.assert_close(got, truth, atol=5e-2, rtol=0)
    assert float((got - truth).abs().mean()) < 0.2 * float((resampler.up(z) - truth).abs().mean())


def test_where_the_guide_is_flat_the_prior_decides_and_nothing_blows_up():
    fine = torch.full((1, 1, 8, 8), 0.4)
    z = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    prior = torch.ones(1, 3, 1)
    got = guided_upsample(z, torch.full((1, 1, 2, 2), 0.4), fine, radius=5, prior=prior)
    torch.testing.assert_close(got, z.mean(dim=(2, 3), keepdim=True).expand_as(got))
