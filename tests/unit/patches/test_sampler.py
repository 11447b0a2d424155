import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.degradation.bicubic import downsample
from hsipipe.errors import DataError
from hsipipe.patches.sampler import augment, augmentation_codes, batch_indices


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), batch=st.integers(1, 20), epochs=st.integers(1, 3), seed=st.integers(0, 3))
def test_every_epoch_has_every_patch_once(n, batch, epochs, seed):
    steps = -(-n * epochs // batch)
    stream = np.concatenate([batch_indices(n, batch, seed=seed, step=step) for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_a_step_is_a_pure_function_of_seed_and_step():
    late = batch_indices(50, 4, seed=1, step=1000)
    for step in (3, 999, 1001):
        batch_indices(50, 4, seed=1, step=step)
    np.testing.assert_array_equal(batch_indices(50, 4, seed=1, step=1000), late)


def test_seeds_and_epochs_differ():
    orders = {tuple(batch_indices(50, 50, seed=seed, step=step)) for seed in range(3) for step in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize(("n", "batch", "step"), [(0, 4, 0), (4, 0, 0), (4, 4, -1)])
def test_no_patches(n, batch, step):
    with pytest.raises(DataError, match="needs patches"):
        batch_indices(n, batch, seed=0, step=step)


def test_all_arrays_of_a_patch_are_turned_alike():
    hr = np.random.default_rng(0).random((32, 2, 8, 8))
    turned = augment({"hr": hr, "lr": downsample(hr, 4)}, seed=0, step=7)
    np.testing.assert_allclose(turned["lr"], downsample(turned["hr"], 4), atol=1e-14)
    assert not np.array_equal(turned["hr"], hr)


def test_the_eight_symmetries_all_occur_and_are_different():
    patch = np.arange(9.0).reshape(1, 3, 3)
    turned = augment({"x": np.repeat(patch[None], 200, axis=0)}, seed=0, step=0)["x"]
    assert len(np.unique(turned.reshape(200, -1), axis=0)) == 8
    np.testing.assert_array_equal(np.sort(turned.reshape(200, -1), axis=1), np.tile(np.arange(9.0), (200, 1)))


def test_augmentation_is_a_pure_function_of_seed_and_step():
    codes = {(seed, step): augmentation_codes(64, seed=seed, step=step) for seed in (0, 1) for step in (0, 1)}
    assert len({tuple(values) for values in codes.values()}) == 4
    np.testing.assert_array_equal(codes[1, 1], augmentation_codes(64, seed=1, step=1))


def test_the_input_is_left_as_it_is():
    x = np.random.default_rng(0).random((8, 1, 4, 4))
    before = x.copy()
    augment({"x": x}, seed=0, step=0)
    np.testing.assert_array_equal(x, before)


def test_arrays_of_different_batches():
    with pytest.raises(DataError, match=r"same number of patches, got \[2, 3\]"):
        augment({"a": np.zeros((2, 1, 4, 4)), "b": np.zeros((3, 1, 4, 4))}, seed=0, step=0)
