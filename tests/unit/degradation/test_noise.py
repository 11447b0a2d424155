import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.degradation.noise import add_noise, band_power, noise_rows


@given(cuts=st.lists(st.integers(0, 20), max_size=5), seed=st.lists(st.integers(0, 2**40), min_size=1, max_size=3))
def test_strips_get_the_noise_of_the_whole(cuts, seed):
    x = np.random.default_rng(0).random((3, 20, 5), dtype=np.float32)
    edges = [0, *sorted(cuts), 20]
    strips = [slice(*pair) for pair in itertools.pairwise(edges)]
    power = sum(band_power(x[:, strip]) for strip in strips) / (20 * 5)
    np.testing.assert_allclose(power, np.mean(x.astype(np.float64) ** 2, axis=(1, 2)), rtol=1e-12)
    whole = add_noise(x, snr_db=20, power=power, seed=seed)
    parts = [add_noise(x[:, s], snr_db=20, power=power, seed=seed, first_row=s.start) for s in strips]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("snr_db", [-3.0, 20.0, 40.0])
def test_each_band_has_the_asked_ratio(snr_db):
    x = np.random.default_rng(0).random((3, 200, 200)) * np.array([0.01, 1.0, 30.0])[:, None, None]
    power = band_power(x) / 200**2
    noise = add_noise(x, snr_db=snr_db, power=power, seed=(1,)) - x
    np.testing.assert_allclose(10 * np.log10(power / np.mean(noise**2, axis=(1, 2))), snr_db, atol=0.1)
    np.testing.assert_allclose(noise.mean(axis=(1, 2)) / np.sqrt(power * 10 ** (-snr_db / 10)), 0, atol=0.02)


def test_the_noise_is_white_and_every_seed_has_its_own():
    noise = noise_rows((2, 300, 300), first_row=0, seed=(4, 2))
    assert noise.dtype == np.float32
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 1], atol=0.01)
    neighbours = [
        noise[0] * noise[1],
        noise[:, 1:] * noise[:, :-1],
        noise[..., 1:] * noise[..., :-1],
        noise * noise_rows((2, 300, 300), first_row=0, seed=(4, 3)),
        noise * noise_rows((2, 300, 300), first_row=0, seed=(4, 2, 0)),
        noise * noise_rows((2, 300, 300), first_row=1, seed=(4, 2)),
    ]
    assert [product.mean() for product in neighbours] == pytest.approx([0] * 6, abs=0.015)
    np.testing.assert_array_equal(noise, noise_rows((2, 300, 300), first_row=0, seed=(4, 2)))


def test_a_dark_band_stays_dark():
    x = np.zeros((1, 3, 4), dtype=np.float32)
    low = add_noise(x, snr_db=10, power=band_power(x), seed=(0,))
    assert low.dtype == np.float32
    np.testing.assert_array_equal(low, 0)
