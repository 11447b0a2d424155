from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate1d, gaussian_filter1d

from hsipipe.degradation.bicubic import downsample
from hsipipe.degradation.psf import BICUBIC, Psf, make_psf
from hsipipe.errors import DataError, ParamsError
from hsipipe.params import PsfParams

FIELDS = {"kind": "gaussian", "sigma": None, "mtf": None, "size": None, "phase": None}


@st.composite
def psfs(draw, *, largest=8):
    """A scale and a PSF that fits it."""
    scale = draw(st.integers(2, largest))
    if draw(st.booleans()):
        return scale, Psf(draw(st.sampled_from(["bicubic", "average"])))
    phase = draw(st.none() | st.integers(0, scale - 1))
    half = draw(st.none() | st.integers(0, 6))
    odd = phase is not None or scale % 2 == 1
    size = None if half is None else 2 * half + 1 if odd else 2 * half + 2
    if draw(st.booleans()):
        return scale, Psf("gaussian", sigma=draw(st.floats(0.05, 12)), size=size, phase=phase)
    return scale, Psf("gaussian", mtf=draw(st.floats(0.05, 0.95)), size=size, phase=phase)


@given(case=psfs(), n_out=st.integers(1, 9))
def test_rows_of_every_psf_sum_to_one(case, n_out):
    scale, psf = case
    matrix = psf.matrix(n_out * scale, scale)
    assert matrix.shape == (n_out, n_out * scale)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-13)


@given(case=psfs(), h=st.integers(1, 7), w=st.integers(1, 7), a=st.floats(-2, 2), b=st.floats(-2, 2))
def test_every_psf_is_linear(case, h, w, a, b):
    scale, psf = case
    x, y = np.random.default_rng(0).random((2, h * scale, w * scale))
    left = psf.downsample(a * x + b * y, scale)
    np.testing.assert_allclose(left, a * psf.downsample(x, scale) + b * psf.downsample(y, scale), atol=1e-12)


@given(case=psfs(largest=5), axis=st.sampled_from([0, 1]))
def test_a_shift_by_s_pixels_is_one_lr_pixel(case, axis):
    scale, psf = case
    reach = 2 + int(max(4 * (psf.width(scale) or 0), 2 * scale) // scale)
    size = (2 * reach + 6) * scale
    x = np.random.default_rng(0).random((size, size))
    low, moved = psf.downsample(x, scale), psf.downsample(np.roll(x, scale, axis=axis), scale)
    inside = np.s_[reach:-reach, reach:-reach]
    np.testing.assert_allclose(moved[inside], np.roll(low, 1, axis=axis)[inside], atol=1e-12)


@given(case=psfs(), h=st.integers(1, 30), w=st.integers(1, 6), rows=st.integers(1, 40))
def test_strips_equal_the_whole(case, h, w, rows):
    scale, psf = case
    x = np.random.default_rng(0).random((2, h * scale, w * scale))
    out = np.full((2, h, w), np.nan)
    for target, source, weights in psf.strips(h * scale, scale, rows=rows):
        strip = np.empty((2, target.stop - target.start, w))
        psf.columns(np.ascontiguousarray(weights @ x[:, source]), strip, scale)
        out[:, target] = strip
    np.testing.assert_allclose(out, psf.downsample(x, scale), atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_average_is_the_mean_of_the_pixels(dtype):
    x = np.random.default_rng(0).random((3, 15, 35)).astype(dtype)
    expected = x.reshape(3, 3, 5, 7, 5).mean(axis=(2, 4))
    np.testing.assert_allclose(Psf("average").downsample(x, 5), expected, rtol=1e-6 if dtype == np.float32 else 1e-14)


def test_bicubic_is_imresize():
    x = np.random.default_rng(0).random((2, 24, 32))
    np.testing.assert_array_equal(BICUBIC.downsample(x, 4), downsample(x, 4))


@pytest.mark.parametrize("shape", [(5, 4), (1, 1), (2, 9)])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("sigma", [0.7, 2.0, 9.0])
@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize("size", [1, 7, 41])
def test_a_gaussian_on_a_pixel_is_that_of_scipy(shape, scale, sigma, phase, size):
    """Images down to 2 x 2 pixels under 41 taps: the scene is mirrored many times."""
    x = np.random.default_rng(0).random((shape[0] * scale, shape[1] * scale))
    taps = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / sigma**2)
    blurred = correlate1d(correlate1d(x, taps / taps.sum(), axis=0, mode="reflect"), taps / taps.sum(), mode="reflect")
    low = Psf("gaussian", sigma=sigma, size=size, phase=phase).downsample(x, scale)
    np.testing.assert_allclose(low, blurred[phase::scale, phase::scale], atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("half", [1, 3, 20])
def test_a_gaussian_at_the_centre_of_an_lr_pixel(scale, half):
    x = np.random.default_rng(0).random((3 * scale, 4 * scale))
    even = scale % 2 == 0
    size = 2 * half + (not even)
    taps = np.exp(-0.5 * (np.arange(size) - (size - 1) / 2) ** 2 / 1.5**2)
    taps /= taps.sum()
    # scipy's even kernels lean towards the start: output p looks at p - half to p + half - 1.
    blurred = correlate1d(correlate1d(x, taps, axis=0, mode="reflect"), taps, mode="reflect")
    first = scale // 2
    low = Psf("gaussian", sigma=1.5, size=size).downsample(x, scale)
    np.testing.assert_allclose(low, blurred[first::scale, first::scale], atol=1e-12)


def test_without_a_size_it_reaches_four_sigma():
    x = np.random.default_rng(0).random((60, 60))
    low = Psf("gaussian", sigma=2.0, phase=1).downsample(x, 3)
    expected = gaussian_filter1d(gaussian_filter1d(x, 2.0, axis=0, radius=8), 2.0, axis=1, radius=8)
    np.testing.assert_allclose(low, expected[1::3, 1::3], atol=1e-12)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_mtf_is_what_is_left_of_the_finest_pattern(scale):
    """A cosine of the LR grid's Nyquist frequency, with its crests in the middle of LR pixels."""
    phase = (np.arange(64 * scale) - (scale - 1) / 2) / (2 * scale)
    x = np.broadcast_to(np.cos(2 * pi * phase), (4 * scale, 64 * scale))
    low = Psf("gaussian", mtf=0.3).downsample(x, scale)
    np.testing.assert_allclose(np.abs(low[:, 8:-8]), 0.3, atol=1e-3)


def test_a_very_narrow_gaussian_takes_the_nearest_pixels():
    x = np.random.default_rng(0).random((8, 8))
    np.testing.assert_allclose(Psf("gaussian", sigma=1e-3, phase=2).downsample(x, 4), x[2::4, 2::4])
    expected = x.reshape(2, 4, 2, 4)[:, 1:3, :, 1:3].mean(axis=(1, 3))
    np.testing.assert_allclose(Psf("gaussian", sigma=1e-3).downsample(x, 4), expected)


def test_params_make_a_psf():
    params = PsfParams.model_validate(FIELDS | {"mtf": 0.3, "phase": 1})
    assert make_psf(params) == Psf("gaussian", mtf=0.3, phase=1)
    assert make_psf(PsfParams.model_validate(FIELDS | {"kind": "bicubic"})) == BICUBIC


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "gaussian"}, "either sigma or mtf, got sigma None and mtf None"),
        ({"kind": "gaussian", "sigma": 1.0, "mtf": 0.3}, r"either sigma or mtf, got sigma 1\.0 and mtf 0\.3"),
        ({"kind": "bicubic", "sigma": 1.0}, "psf.sigma requires kind gaussian, got kind bicubic; set it to null"),
        ({"kind": "average", "size": 3, "phase": 0}, "psf.size/phase requires kind gaussian, got kind average"),
        ({"kind": "box"}, "kind must be bicubic, gaussian, average or none, got 'box'"),
        ({"kind": "gaussian", "sigma": 0.0}, r"sigma must be a positive number of HR pixels below 1000, got 0\.0"),
        ({"kind": "gaussian", "sigma": 1e9}, r"sigma must be a positive number of HR pixels below 1000, got 1"),
        ({"kind": "gaussian", "sigma": 1.0, "size": 10**9}, "size must be a positive whole number below 10000, got 1"),
        ({"kind": "gaussian", "mtf": 1.0}, r"mtf must be between 0 and 1, got 1\.0"),
        ({"kind": "gaussian", "sigma": 1.0, "size": 0}, "size must be a positive whole number below 10000, got 0"),
        (
            {"kind": "gaussian", "sigma": 1.0, "size": 2.5},
            r"size must be a positive whole number below 10000, got 2\.5",
        ),
        ({"kind": "gaussian", "sigma": 1.0, "phase": -1}, "phase must be a whole number of 0 or more, got -1"),
    ],
)
def test_fields_that_contradict_each_other(fields, message):
    with pytest.raises(ParamsError, match=message):
        Psf(**fields)


def test_kernels_that_do_not_fit_the_scale():
    x = np.zeros((12, 12))
    with pytest.raises(ParamsError, match="phase must lie within an LR pixel, 0 to 3 at scale 4, got 4"):
        Psf("gaussian", sigma=1.0, phase=4).downsample(x, 4)
    with pytest.raises(
        ParamsError, match=r"size must be an even number at scale 4.*between two pixels .*got 7; set 8, or"
    ):
        Psf("gaussian", sigma=1.0, size=7).downsample(x, 4)
    with pytest.raises(ParamsError, match=r"size must be an odd number at scale 3.*on a pixel .*got 8; set 9\."):
        Psf("gaussian", sigma=1.0, size=8).downsample(x, 3)
    with pytest.raises(DataError, match="height of 12 pixels leaves a remainder of 2 at scale 5"):
        Psf("average").downsample(x, 5)
    with pytest.raises(ParamsError, match="kind none is for scale 1, got scale 4; set bicubic"):
        Psf("none").downsample(x, 4)


@pytest.mark.parametrize("psf", [BICUBIC, Psf("average"), Psf("none")])
def test_at_scale_one_every_psf_but_a_gaussian_is_exactly_the_identity(psf):
    x = np.random.default_rng(0).standard_normal((2, 24, 17)).astype(np.float32)
    np.testing.assert_array_equal(psf.downsample(x, 1), x)
    np.testing.assert_array_equal(psf.matrix(24, 1), np.eye(24))
    assert not psf.changes(1)
    assert psf.describe(1) == "none"


def test_a_gaussian_blurs_at_scale_one_with_the_mtf_that_it_is_given():
    psf = Psf("gaussian", mtf=0.1)
    assert psf.changes(1)
    matrix = psf.matrix(64, 1)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(matrix[32], matrix[32][::-1].take(range(-1, 63)), atol=1e-12)
    # Half of the Nyquist frequency, where a Gaussian passes the fourth root: there, the taps do not alias yet.
    assert matrix[32] @ np.cos(np.pi / 2 * (np.arange(64) - 32)) == pytest.approx(0.1**0.25, rel=0.02)


def test_one_line_for_people():
    assert BICUBIC.describe(4) == "bicubic, antialiased, symmetric boundary"
    assert Psf("average").describe(2) == "mean of 2 x 2 pixels, symmetric boundary"
    gaussian = Psf("gaussian", mtf=0.3)
    assert gaussian.describe(4) == "gaussian, sigma 1.976 px (MTF 0.3), centred, symmetric boundary"
    fixed = Psf("gaussian", sigma=2.0, size=7, phase=0)
    assert fixed.describe(4) == (
        "gaussian, sigma 2 px (MTF 0.29), 7 x 7 taps, on pixel 0 of 0 to 3, symmetric boundary"
    )
