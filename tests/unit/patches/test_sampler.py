import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.artifacts.patch_arrays import turn
from hsipipe.degradation.bicubic import downsample
from hsipipe.errors import DataError
from hsipipe.patches.sampler import SYMMETRIES, batch_samples


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), batch=st.integers(1, 20), epochs=st.integers(1, 3), seed=st.integers(0, 3))
def test_every_epoch_has_every_patch_once(n, batch, epochs, seed):
    steps = -(-n * epochs // batch)
    drawn = [batch_samples(n, batch, seed=seed, step=step) for step in range(steps)]
    index, epoch = (np.concatenate([getattr(samples, key) for samples in drawn]) for key in ("index", "epoch"))
    for number in range(epochs):
        assert sorted(index[number * n : (number + 1) * n]) == list(range(n))
        assert set(epoch[number * n : (number + 1) * n]) == {number}


def test_a_step_is_a_pure_function_of_seed_and_step():
    late = batch_samples(50, 4, seed=1, step=1000)
    for step in (3, 999, 1001):
        batch_samples(50, 4, seed=1, step=step)
    again = batch_samples(50, 4, seed=1, step=1000)
    for key in ("index", "epoch", "code"):
        np.testing.assert_array_equal(getattr(again, key), getattr(late, key))


def test_seeds_and_epochs_differ():
    drawn = [batch_samples(50, 50, seed=seed, step=step) for seed in range(3) for step in range(3)]
    assert len({tuple(samples.index) for samples in drawn}) == 9
    assert len({tuple(samples.code[np.argsort(samples.index)]) for samples in drawn}) == 9


@pytest.mark.parametrize(("n", "batch", "step"), [(0, 4, 0), (4, 0, 0), (4, 4, -1)])
def test_no_patches(n, batch, step):
    with pytest.raises(DataError, match="needs n and batch of at least 1"):
        batch_samples(n, batch, seed=0, step=step)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60), batches=st.tuples(st.integers(1, 70), st.integers(1, 70)), more=st.integers(0, 300),
    seed=st.integers(0, 3),
)  # fmt: skip
def test_a_code_depends_on_seed_epoch_and_patch_alone(n, batches, more, seed):
    """Neither the batch that a patch comes in nor the number of the other patches matters."""
    codes = {}
    for size, batch in ((n, batches[0]), (n, batches[1]), (n + more, batches[0])):
        for step in range(-(-2 * size // batch)):
            samples = batch_samples(size, batch, seed=seed, step=step)
            for key, code in zip(zip(samples.epoch, samples.index, strict=True), samples.code, strict=True):
                assert codes.setdefault(key, code) == code


def test_the_symmetries_are_equally_frequent():
    code = batch_samples(80_000, 80_000, seed=0, step=0).code
    np.testing.assert_allclose(np.bincount(code, minlength=SYMMETRIES), 10_000, rtol=0.05)


def test_the_eight_symmetries_are_different_and_lose_nothing():
    patch = np.arange(9.0).reshape(1, 3, 3)
    turned = np.stack([turn(patch, code).ravel() for code in range(SYMMETRIES)])
    assert len(np.unique(turned, axis=0)) == 8
    np.testing.assert_array_equal(np.sort(turned, axis=1), np.tile(np.arange(9.0), (8, 1)))
    np.testing.assert_array_equal(turn(patch, 0), patch)


@pytest.mark.parametrize("code", range(SYMMETRIES))
def test_lr_turns_with_hr(code):
    hr = np.random.default_rng(0).random((2, 8, 8))
    np.testing.assert_allclose(
        turn(downsample(hr, 4), code), downsample(np.ascontiguousarray(turn(hr, code)), 4), atol=1e-14
    )
