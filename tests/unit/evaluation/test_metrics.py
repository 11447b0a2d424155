"""Every metric against an independent reference and against cases done by hand."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis as torch_ergas,
)
from torchmetrics.functional.image import spectral_angle_mapper as torch_sam

from hsipipe.degradation.bicubic import downsample
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.errors import DataError
from hsipipe.evaluation import metrics, scoring
from hsipipe.evaluation.fusion_metrics import without_truth
from hsipipe.protocols.metrics import METRICS, Metric

OF_ONE_IMAGE = {metric.key for metric in METRICS if metric.function and not metric.of_pair and not metric.of_samples}


@pytest.fixture
def cubes():
    rng = np.random.default_rng(0)
    hr = rng.uniform(0.05, 0.95, (5, 24, 32))
    return np.clip(hr + rng.normal(0, 0.05, hr.shape), 0, 1), hr


def test_score_has_exactly_the_defined_keys_and_plain_floats(cubes):
    values = scoring.score(*cubes)
    assert set(values) == OF_ONE_IMAGE
    assert all(type(value) is float for value in values.values())


def test_mpsnr_and_mssim_are_means_of_skimage_over_bands(cubes):
    sr, hr = cubes
    values = scoring.score(sr, hr, 4)
    psnr = [peak_signal_noise_ratio(b, a, data_range=1) for a, b in zip(sr, hr, strict=True)]
    ssim = [structural_similarity(a, b, data_range=1) for a, b in zip(sr, hr, strict=True)]
    assert values["mpsnr_db"] == pytest.approx(np.mean(psnr), abs=1e-10)
    assert values["mssim"] == pytest.approx(np.mean(ssim), abs=1e-12)
    assert values["cube_psnr_db"] == pytest.approx(peak_signal_noise_ratio(hr, sr, data_range=1), abs=1e-10)


def test_sam_is_torchmetrics_in_degrees(cubes):
    reference = torch_sam(*(torch.from_numpy(cube[None]) for cube in cubes))
    assert scoring.score(*cubes)["sam_deg"] == pytest.approx(math.degrees(reference), abs=1e-9)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_ergas_divides_100_by_the_scale(cubes, scale):
    sr, hr = cubes
    relative = [((a - b) ** 2).mean() / b.mean() ** 2 for a, b in zip(sr, hr, strict=True)]
    by_hand = 100 / scale * np.sqrt(np.mean(relative))
    reference = torch_ergas(*(torch.from_numpy(cube[None]) for cube in cubes), ratio=scale)
    assert scoring.score(sr, hr, scale)["ergas"] == pytest.approx(by_hand, abs=1e-10)
    assert scoring.score(sr, hr, scale)["ergas"] == pytest.approx(float(reference), rel=1e-9)


@pytest.mark.parametrize("scale", [4.0, np.int64(4), np.float32(4)])
def test_whole_numbers_of_any_type_are_scales_as_in_degrade(cubes, scale):
    assert scoring.score(*cubes, scale) == scoring.score(*cubes, 4)


def test_cc_is_numpys_correlation(cubes):
    sr, hr = cubes
    reference = np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(sr, hr, strict=True)])
    assert scoring.score(sr, hr)["cc"] == pytest.approx(reference, abs=1e-12)


def test_rmse_and_consistency_by_brute_force(cubes):
    sr, hr = cubes
    low_sr, low_hr = downsample(sr, 4), downsample(hr, 4)
    values = scoring.score(sr, hr, 4)
    assert values["rmse"] == pytest.approx(np.sqrt(np.mean((sr - hr) ** 2)), abs=1e-14)
    reference = peak_signal_noise_ratio(low_hr, low_sr, data_range=1)
    assert values["consistency_psnr_db"] == pytest.approx(reference, abs=1e-9)


def test_consistency_is_against_the_given_input(cubes):
    sr, hr = cubes
    lr = downsample(sr, 4)
    assert scoring.score(sr, hr, 4, lr=lr)["consistency_psnr_db"] > 250


RESPONSE = np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 0.2, 0.3, 0.5]])


def test_consistency_with_the_msi_by_brute_force(cubes):
    sr, hr = cubes
    seen, msi = (np.einsum("kc,cyx->kyx", RESPONSE, cube) for cube in cubes)
    values = scoring.score(sr, hr, msi=msi, response=RESPONSE)
    assert set(values) - OF_ONE_IMAGE == {"msi_consistency_psnr_db"}
    reference = peak_signal_noise_ratio(msi, seen, data_range=1)
    assert values["msi_consistency_psnr_db"] == pytest.approx(reference, abs=1e-10)
    assert {key: values[key] for key in OF_ONE_IMAGE} == scoring.score(sr, hr)
    labelled = xr.DataArray(msi.transpose(1, 2, 0), dims=("y", "x", "band"))
    assert scoring.score(sr, hr, msi=labelled, response=RESPONSE) == values
    assert metrics.msi_consistency_psnr_db(sr, seen, RESPONSE) > 250


@pytest.mark.parametrize("given", [{"msi": np.zeros((2, 24, 32))}, {"response": RESPONSE}])
def test_without_msi_or_response_there_is_no_consistency_with_it(cubes, given):
    assert set(scoring.score(*cubes, **given)) == OF_ONE_IMAGE


@pytest.mark.parametrize(
    ("msi", "response", "message"),
    [
        (np.zeros((3, 24, 32)), RESPONSE, r"msi has shape \(3, 24, 32\), response \(2, 5\), sr \(5, 24, 32\)"),
        (np.zeros((2, 24, 31)), RESPONSE, "crop both images"),
        (np.zeros((2, 24, 32)), RESPONSE[:, :4], "give the response that the HR-MSI was made with"),
        (np.full((2, 24, 32), np.nan), RESPONSE, "msi has 768 NaN"),
    ],
)
def test_an_msi_that_does_not_belong_is_refused(cubes, msi, response, message):
    with pytest.raises(DataError, match=message):
        scoring.score(*cubes, msi=msi, response=response)


def test_a_constant_error_by_hand():
    hr = np.full((2, 8, 8), 0.5)
    hr[:, ::2] = 0.3
    values = scoring.score(hr + 0.1, hr, 4)
    assert values["mpsnr_db"] == pytest.approx(20)
    assert values["rmse"] == pytest.approx(0.1)
    assert values["ergas"] == pytest.approx(25 * 0.1 / 0.4)
    assert values["cc"] == pytest.approx(1)
    assert values["sam_deg"] == pytest.approx(0, abs=1e-6)


def test_mpsnr_and_cube_psnr_differ_when_bands_differ():
    hr = np.full((2, 8, 8), 0.5)
    sr = hr + np.array([0.1, 0.001])[:, None, None]
    values = scoring.score(sr, hr)
    assert values["mpsnr_db"] == pytest.approx((20 + 60) / 2)
    assert values["cube_psnr_db"] == pytest.approx(-10 * math.log10((1e-2 + 1e-6) / 2))


@pytest.mark.parametrize("degrees", [1e-7, 0.01, 30, 90, 180])
def test_sam_by_hand_and_near_zero(degrees):
    angle = math.radians(degrees)
    hr = np.zeros((2, 8, 8))
    hr[0] = 0.5
    sr = np.stack([np.full((8, 8), math.cos(angle)), np.full((8, 8), math.sin(angle))])
    assert metrics.sam_deg(sr, hr) == pytest.approx(degrees, rel=1e-9)


def test_sam_leaves_out_black_pixels_of_either():
    hr = np.zeros((2, 8, 8))
    hr[0], hr[1, 0, 0] = 1, 1
    sr = hr.copy()
    sr[:, 4:], hr[:, :2] = 0, 0
    sr[1, 3] = 1
    assert metrics.sam_deg(sr, hr) == pytest.approx(45 / 2)


def test_sam_without_a_lit_pixel_is_undefined():
    assert math.isnan(metrics.sam_deg(np.zeros((2, 8, 8)), np.ones((2, 8, 8))))


def test_cc_leaves_out_constant_truth_and_gives_nothing_for_a_constant_prediction(cubes):
    sr, hr = (cube.copy() for cube in cubes)
    hr[0] = 0.5
    sr[1] = 0.5
    rest = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(sr[2:], hr[2:], strict=True)]
    assert metrics.cc(sr, hr) == pytest.approx(sum(rest) / 4)
    assert math.isnan(metrics.cc(sr[1:2], hr[0:1]))


def test_identical_images_are_perfect(cubes):
    values = scoring.score(cubes[1], cubes[1])
    assert values["mpsnr_db"] == values["cube_psnr_db"] == values["consistency_psnr_db"] == math.inf
    assert values["sam_deg"] == values["ergas"] == values["rmse"] == 0
    assert values["mssim"] == pytest.approx(1)
    assert values["cc"] == pytest.approx(1)


def test_nothing_is_clipped(cubes):
    sr, hr = cubes
    assert scoring.score(sr + 1, hr)["rmse"] > 0.9


def test_float32_is_summed_in_float64(cubes):
    sr, hr = (cube.astype(np.float32) for cube in cubes)
    again = scoring.score(sr.astype(np.float64), hr.astype(np.float64))
    assert scoring.score(sr, hr) == pytest.approx(again, rel=1e-12)


def test_data_arrays_in_any_order_of_dimensions(cubes):
    sr, hr = cubes
    given = xr.DataArray(sr.transpose(1, 2, 0), dims=("y", "x", "band"))
    truth = xr.DataArray(hr, dims=("band", "y", "x"), coords={"wavelength_nm": ("band", np.arange(5.0))})
    assert scoring.score(given, truth) == scoring.score(sr, hr)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sr, hr: (sr[:4], hr, 4), r"sr has shape \(4, 24, 32\), hr has \(5, 24, 32\).*crop both"),
        (lambda sr, hr: (sr[0], hr[0], 4), r"hr has shape \(24, 32\), expected three dimensions"),
        (lambda sr, hr: (sr, hr, 5), "24 x 32 pixels, which scale 5 does not divide; crop it to 20 x 30"),
        (lambda sr, hr: (sr, hr, 0), r"scale must be a whole number of 1 or more, .*got 0\."),
        (lambda sr, hr: (sr, hr, 2.5), r"whole number .*got 2\.5\."),
        (lambda sr, hr: (sr, hr, True), r"whole number .*got True\."),
        (lambda sr, hr: (sr[:, :4, :4], hr[:, :4, :4], 4), "4 x 4 pixels, expected at least 7 x 7"),
        (lambda sr, hr: (sr[:0], hr[:0], 4), "no band"),
        (lambda sr, hr: (sr, (hr * 255).astype(np.uint8), 4), "hr holds uint8 values.*divide it by"),
        (lambda sr, hr: (xr.DataArray(sr, dims=("c", "h", "w")), hr, 4), "sr has dimensions .* rename"),
    ],
)
def test_unfit_input_is_refused(cubes, change, message):
    with pytest.raises(DataError, match=message):
        scoring.score(*change(*cubes))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_names_its_band(cubes, bad):
    sr, hr = (cube.copy() for cube in cubes)
    sr[3, 0, 0] = bad
    with pytest.raises(DataError, match="sr has 1 NaN or Inf of 768 values in band 4,"):
        scoring.score(sr, hr)


def test_a_dead_band_is_named_with_its_wavelength(cubes):
    sr, hr = (cube.copy() for cube in cubes)
    hr[2] = 0
    with pytest.raises(DataError, match="zero mean in band 3, but"):
        scoring.score(sr, hr)
    known = xr.DataArray(hr, dims=("band", "y", "x"), coords={"wavelength_nm": ("band", np.arange(400.0, 450, 10))})
    with pytest.raises(DataError, match=r"band 3 \(420 nm\)"):
        scoring.score(sr, known)


def test_a_wrong_lr_is_refused(cubes):
    with pytest.raises(DataError, match=r"lr has shape \(5, 24, 32\), expected \(5, 6, 8\)"):
        scoring.score(*cubes, 4, lr=cubes[1])


def test_without_any_degradation_but_noise_consistency_is_no_merit(cubes):
    sr, hr = cubes
    for psf in (BICUBIC, Psf("none")):
        assert np.isnan(scoring.score(sr, hr, 1, lr=sr, psf=psf)["consistency_psnr_db"])
    blurred = Psf("gaussian", sigma=1.5)
    assert scoring.score(hr, hr, 1, lr=blurred.downsample(hr, 1), psf=blurred)["consistency_psnr_db"] > 120


def test_at_scale_one_ergas_has_the_factor_one_hundred(cubes):
    sr, hr = cubes
    assert scoring.score(sr, hr, 1)["ergas"] == pytest.approx(4 * scoring.score(sr, hr, 4)["ergas"])


def test_with_both_inputs_every_metric_is_scored(cubes):
    sr, hr = cubes
    lr, msi = downsample(hr, 4), np.einsum("kc,cyx->kyx", RESPONSE, hr)
    values = scoring.score(sr, hr, lr=lr, msi=msi, response=RESPONSE)
    assert list(values) == [metric.key for metric in METRICS if metric.function and not metric.of_samples]
    expected = without_truth(sr, lr, msi, scale=4)
    assert {key: values[key] for key in expected} == pytest.approx(expected, abs=1e-15)


def bias(sr, hr):
    return float((sr - hr).mean())


def test_a_metric_is_one_record_and_its_function(cubes, monkeypatch):
    monkeypatch.setattr(metrics, "bias", bias, raising=False)
    new = Metric("bias", "Bias", "mean of the error", digits=3, function="hsipipe.evaluation.metrics:bias")
    monkeypatch.setattr(scoring, "METRICS", (*METRICS, new))
    sr, hr = cubes
    assert scoring.score(sr, hr)["bias"] == bias(sr, hr)
