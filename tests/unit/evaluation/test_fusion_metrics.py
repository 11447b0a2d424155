"""D_lambda, D_s and QNR against a slow reference in plain loops, and what must hold of them."""

import math

import numpy as np
import pytest
import xarray as xr

from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.errors import DataError, ParamsError
from hsipipe.evaluation.fusion_metrics import d_lambda, d_s, without_truth

SCALE = 3
AVERAGE = Psf("average")


def repeat(low, scale=SCALE):
    """Every pixel `scale` times along both axes."""
    return low.repeat(scale, axis=1).repeat(scale, axis=2)


@pytest.fixture
def images():
    """A fused cube, its LR-HSI and its HR-MSI: 4 and 2 bands, 5 x 7 LR pixels."""
    rng = np.random.default_rng(0)
    shared = rng.uniform(0.1, 0.9, (1, 5, 7))
    lr = shared * rng.uniform(0.3, 1.0, (4, 1, 1)) + rng.normal(0, 0.05, (4, 5, 7))
    sr = repeat(lr) + rng.normal(0, 0.1, (4, 15, 21))
    return sr, lr, repeat(shared) + rng.normal(0, 0.1, (2, 15, 21))


def q_by_hand(x, y):
    """Q of two blocks as lists of numbers; Wang & Bovik's way with constants."""
    count = len(x)
    mean_x, mean_y = sum(x) / count, sum(y) / count
    var_x = sum((value - mean_x) ** 2 for value in x) / (count - 1)
    var_y = sum((value - mean_y) ** 2 for value in y) / (count - 1)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / (count - 1)
    if (var_x + var_y) * (mean_x**2 + mean_y**2) == 0:
        return 1.0 if mean_x**2 + mean_y**2 == 0 else 2 * mean_x * mean_y / (mean_x**2 + mean_y**2)
    return 4 * covariance * mean_x * mean_y / ((var_x + var_y) * (mean_x**2 + mean_y**2))


def mean_q(x, y, blocks):
    values = [q_by_hand(x[box].ravel().tolist(), y[box].ravel().tolist()) for box in blocks]
    return max(0.0, sum(values) / len(values))


def blocks_by_hand(scale):
    """Blocks of 2 LR pixels or more on 5 x 7: rows 0-2-5, columns 0-2-4-7."""
    rows, columns = [(0, 2), (2, 5)], [(0, 2), (2, 4), (4, 7)]
    return [np.s_[a * scale : b * scale, c * scale : d * scale] for a, b in rows for c, d in columns]


def test_d_lambda_is_that_of_plain_loops(images):
    sr, lr, _ = images
    changes = [
        abs(mean_q(sr[i], sr[j], blocks_by_hand(SCALE)) - mean_q(lr[i], lr[j], blocks_by_hand(1)))
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    assert d_lambda(sr, lr, block=2) == pytest.approx(sum(changes) / len(changes), abs=1e-12)
    assert sum(changes) / len(changes) > 0.02


@pytest.mark.parametrize("psf", [AVERAGE, Psf("gaussian", sigma=1.5), BICUBIC])
def test_d_s_is_that_of_plain_loops(images, psf):
    sr, lr, msi = images
    low = np.stack([psf.downsample(band, SCALE) for band in msi])
    changes = [
        abs(mean_q(sr[i], msi[k], blocks_by_hand(SCALE)) - mean_q(lr[i], low[k], blocks_by_hand(1)))
        for i in range(4)
        for k in range(2)
    ]
    assert d_s(sr, lr, msi, scale=SCALE, psf=psf, block=2) == pytest.approx(np.mean(changes), abs=1e-12)
    assert np.mean(changes) > 0.02


def test_qnr_is_the_product_of_what_both_leave(images):
    values = without_truth(*images, scale=SCALE, psf=AVERAGE)
    assert set(values) == {"d_lambda", "d_s", "qnr"}
    assert values["d_lambda"] == d_lambda(*images[:2])
    assert values["d_s"] == d_s(*images, scale=SCALE, psf=AVERAGE)
    assert values["qnr"] == pytest.approx((1 - values["d_lambda"]) * (1 - values["d_s"]))


def test_the_same_relation_of_bands_is_no_distortion():
    lr = np.random.default_rng(1).uniform(0.1, 0.9, (5, 20, 17))
    assert d_lambda(repeat(lr), lr) == pytest.approx(0, abs=1e-12)
    msi = repeat(lr[:2])
    assert d_s(repeat(lr), lr, msi, scale=SCALE, psf=AVERAGE) == pytest.approx(0, abs=1e-12)
    assert without_truth(repeat(lr), lr, msi, scale=SCALE, psf=AVERAGE)["qnr"] == pytest.approx(1, abs=1e-12)


def test_detail_that_is_proportional_to_the_spectrum_is_no_spectral_distortion():
    """Fusion that multiplies each spectrum by one number keeps the bands' relations where one material is."""
    spectrum = np.array([0.2, 0.4, 0.7])[:, None, None]
    texture = np.random.default_rng(2).uniform(0.5, 1.0, (1, 24, 24))
    sr = spectrum * texture
    assert d_lambda(sr, AVERAGE.downsample(sr, SCALE)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_constant_images_have_no_distortion(value):
    sr, lr, msi = (np.full(shape, value) for shape in ((3, 24, 24), (3, 8, 8), (2, 24, 24)))
    sr[1], lr[1] = value / 7, value / 7
    assert without_truth(sr, lr, msi, scale=SCALE, psf=BICUBIC) == pytest.approx({"d_lambda": 0, "d_s": 0, "qnr": 1})


def test_the_worst_is_one_also_where_bands_are_anticorrelated():
    rng = np.random.default_rng(3)
    low = rng.uniform(0.1, 0.9, (1, 8, 8))
    lr = np.concatenate([low, low])
    sr = repeat(np.concatenate([low, 1 - low]))
    assert d_lambda(sr, lr) == pytest.approx(1, abs=1e-12)
    assert d_s(sr[1:], lr[1:], sr[:1], scale=SCALE, psf=AVERAGE) == pytest.approx(1, abs=1e-12)
    assert without_truth(sr, lr, sr[:1], scale=SCALE, psf=AVERAGE)["qnr"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_they_lie_between_zero_and_one(seed):
    rng = np.random.default_rng(seed)
    sr, lr, msi = (rng.normal(0.2, 1, shape) for shape in ((6, 20, 12), (6, 10, 6), (3, 20, 12)))
    assert all(0 <= value <= 1 for value in without_truth(sr, lr, msi, scale=2).values())


def test_neither_a_factor_nor_the_order_of_bands_or_a_turn_matters(images):
    sr, lr, msi = images
    expected = without_truth(sr, lr, msi, scale=SCALE, psf=AVERAGE)
    order = [2, 0, 3, 1]
    same = {
        "units": (sr * 1000, lr * 1000, msi * 1000),
        "order": (sr[order], lr[order], msi[::-1]),
        "turn": tuple(np.rot90(image, 2, axes=(1, 2)) for image in (sr, lr, msi)),
        "transposed": tuple(image.transpose(0, 2, 1) for image in (sr, lr, msi)),
    }
    for changed in same.values():
        assert without_truth(*changed, scale=SCALE, psf=AVERAGE) == pytest.approx(expected, abs=1e-12)


def test_every_pixel_counts_also_where_blocks_do_not_fill_the_scene(images):
    sr, lr, _ = images
    for place in ((0, 0), (-1, -1), (7, 20)):
        changed = sr.copy()
        changed[0, *place] += 0.5
        assert d_lambda(changed, lr, block=2) != d_lambda(sr, lr, block=2)


def test_float32_and_labels_change_nothing(images):
    single = [image.astype(np.float32) for image in images]
    double = [image.astype(np.float64) for image in single]
    expected = without_truth(*double, scale=SCALE)
    assert without_truth(*single, scale=SCALE) == pytest.approx(expected, abs=1e-12)
    labelled = [xr.DataArray(image.transpose(1, 2, 0), dims=("y", "x", "band")) for image in double]
    assert without_truth(*labelled, scale=SCALE) == expected


def test_a_single_band_has_no_spectral_distortion_to_speak_of(images):
    sr, lr, msi = (image[:1] for image in images)
    assert math.isnan(d_lambda(sr, lr))
    assert 0 < d_s(sr, lr, msi, scale=SCALE) < 1


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda sr, lr, msi: (sr[:3], lr, msi), {}, r"lr has shape \(4, 5, 7\), expected \(3, 5, 7\)"),
        (lambda sr, lr, msi: (sr, lr[:, :4], msi), {}, r"lr has shape \(4, 4, 7\), expected \(4, 5, 7\)"),
        (lambda sr, lr, msi: (sr, lr, msi[:, 1:]), {}, r"msi has shape \(2, 14, 21\), expected 15 x 21 pixels"),
        (lambda sr, lr, msi: (sr, lr, msi * np.nan), {}, "msi has 315 NaN"),
        (lambda sr, lr, msi: (sr[0], lr, msi), {}, "sr has shape .* three dimensions"),
        (lambda sr, lr, msi: (sr, lr, msi), {"scale": 2.5}, "scale must be a whole number"),
        (lambda sr, lr, msi: (sr, lr, msi), {"block": 1}, "edge of 2 LR pixels or more, got 1"),
    ],
)
def test_unfit_input_is_refused(images, change, options, message):
    with pytest.raises(DataError, match=message):
        d_s(*change(*images), **{"scale": SCALE, **options})


@pytest.mark.parametrize("change", [np.s_[:3], np.s_[:, :4], np.s_[:, :, :6]])
def test_a_wrong_lr_is_refused(images, change):
    with pytest.raises(DataError, match=r"sr has shape \(4, 15, 21\), lr has .* give the LR cube"):
        d_lambda(images[0], images[1][change])


def test_a_psf_that_does_not_fit_is_refused(images):
    with pytest.raises(ParamsError, match="is for scale 1"):
        d_s(*images, scale=SCALE, psf=Psf("none"))
