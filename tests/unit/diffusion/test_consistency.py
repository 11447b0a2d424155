import numpy as np
import pytest
import torch

from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import PairObservation, Resampler, back_project, disagreement, spectral_gain


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
    np.testing.assert_allclose(back_project(truth, lr, resampler=resampler, iterations=3), truth, rtol=1e-7, atol=1e-7)


def test_at_scale_one_interpolation_is_exactly_the_identity():
    cube = torch.randn(3, 24, 17, generator=torch.Generator().manual_seed(0))
    resampler = Resampler(24, 17, scale=1, like=cube, psf=Psf("gaussian", sigma=1.0))
    assert torch.equal(resampler.up(cube), cube)
    assert not torch.allclose(resampler.down(cube), cube, atol=0.1)


@pytest.mark.parametrize("psf", [Psf("gaussian", sigma=1.7), Psf("average"), Psf()])
def test_the_smallest_image_that_degrades_so_is_found(psf):
    truth = torch.rand(2, 24, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    resampler = Resampler(24, 32, scale=4, like=truth, psf=psf)
    lr = resampler.down(truth)
    back = resampler.back(lr)
    np.testing.assert_allclose(resampler.down(back), lr, atol=1e-9, rtol=0)
    assert float(back.square().sum()) <= float(truth.square().sum())


def pair(seed=0, *, bands=9, size=24):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(1, bands, size, size, dtype=torch.float64, generator=generator)
    response = torch.rand(3, bands, dtype=torch.float64, generator=generator)
    response = response / response.sum(dim=1, keepdim=True)
    resampler = Resampler(size, size, scale=4, like=truth, psf=Psf("gaussian", sigma=1.7))
    lr, msi = resampler.down(truth), torch.einsum("kc,bchw->bkhw", response, truth)
    spectra = (lr - lr.mean(dim=(2, 3), keepdim=True)).flatten(2)
    gain = spectral_gain(response, spectra @ spectra.transpose(1, 2) / spectra.shape[2])
    return truth, PairObservation(lr, msi, resampler, response, gain)


def test_one_projection_satisfies_both_sensors_and_comes_nearer_to_the_truth():
    truth, seen = pair()
    wrong = truth + 0.1 * torch.randn(truth.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    got = seen.project(wrong)
    np.testing.assert_allclose(seen.resampler.down(got), seen.lr, atol=1e-5, rtol=0)
    np.testing.assert_allclose(torch.einsum("kc,bchw->bkhw", seen.response, got), seen.msi, atol=1e-5, rtol=0)
    assert float((got - truth).square().mean()) < float((wrong - truth).square().mean())
    np.testing.assert_allclose(seen.project(truth), truth, atol=1e-6, rtol=0)


def test_two_msi_bands_of_one_colour_are_no_division_by_zero():
    response = torch.full((2, 4), 0.25)
    gain = spectral_gain(response, torch.eye(4)[None])
    assert torch.isfinite(gain).all()
    np.testing.assert_allclose(response @ gain[0] @ torch.ones(2), torch.ones(2), atol=1e-3, rtol=0)
    assert torch.isfinite(spectral_gain(response, torch.zeros(1, 4, 4))).all()


@pytest.mark.parametrize("sigma", [1.7, 3.6, 6.0])
def test_noise_is_not_blown_up_however_wide_the_psf_is(sigma):
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(16, 12, 12, dtype=torch.float64, generator=generator)
    resampler = Resampler(48, 48, scale=4, like=noise, psf=Psf("gaussian", sigma=sigma))
    assert float(resampler.back(noise).abs().max()) < 10 * float(noise.abs().max())


def test_where_the_two_disagree_the_lr_image_is_met_and_the_msi_is_believed_less():
    truth, seen = pair()
    generator = torch.Generator().manual_seed(4)
    noise = 0.2 * torch.randn(seen.msi.shape, dtype=torch.float64, generator=generator)
    noisy = seen.msi + noise
    unexplained = disagreement(seen.lr, noisy, resampler=seen.resampler, response=seen.response)
    spectra = (seen.lr - seen.lr.mean(dim=(2, 3), keepdim=True)).flatten(2)
    covariance = spectra @ spectra.transpose(1, 2) / spectra.shape[2]
    errors = []
    for moments in (None, unexplained):
        gain = spectral_gain(seen.response, covariance, moments)
        got = PairObservation(seen.lr, noisy, seen.resampler, seen.response, gain).project(truth)
        np.testing.assert_allclose(seen.resampler.down(got), seen.lr, atol=1e-5, rtol=0)
        errors.append(float((got - truth).square().mean()))
    assert errors[1] < 0.7 * errors[0]
    agreement = disagreement(seen.lr, seen.msi, resampler=seen.resampler, response=seen.response)
    assert float(agreement.abs().max()) < 1e-12
