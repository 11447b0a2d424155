"""Two models, one comparison."""

from dataclasses import replace

import numpy as np
import pytest

from hsipipe.evaluation.contest import compare
from hsipipe.evaluation.metrics import mpsnr_db
from hsipipe.methods.bicubic import Bicubic


class Brighter(Bicubic):
    """Interpolation with an offset."""

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        return super().predict(lr, msi=msi, origin=origin) + np.float32(0.05)


@pytest.fixture
def sampling(make_params):
    return make_params("sampling", tile=8, overlap=1)


def test_both_are_scored_on_every_test_scene(pairs, names, protocol, sampling):
    contest = compare((Bicubic(4), Brighter(4)), pairs, protocol=protocol, sampling=sampling)
    plain, bright = contest.scores
    assert list(plain) == list(bright) == names
    for name in names:
        hr = pairs.read("test", name).hr
        sr = Bicubic(4).predict(pairs.read("test", name).lr[None])[0].clip(0, 1)
        expected = mpsnr_db(np.square(sr.astype(np.float64) - hr).mean(axis=(1, 2)))
        assert plain[name]["mpsnr_db"] == pytest.approx(expected, abs=0.05)  # tiles against the whole
        assert bright[name]["mpsnr_db"] < plain[name]["mpsnr_db"]
    assert all(seconds > 0 for seconds in contest.latency_s)


def test_a_scene_can_be_left_out(pairs, names, protocol, sampling):
    contest = compare((Bicubic(4),), pairs, protocol=protocol, sampling=sampling, leave_out=names[:1])
    assert list(contest.scores[0]) == names[1:]


def test_the_hash_follows_what_is_compared_and_not_what_was_trained_on(pairs, names, protocol, sampling):
    def hashed(protocol=protocol, sampling=sampling, leave_out=()):
        return compare((), pairs, protocol=protocol, sampling=sampling, leave_out=leave_out).hash

    base = hashed()
    assert hashed() == base
    assert hashed(leave_out=names[:1]) != base
    assert hashed(sampling=sampling.model_copy(update={"tile": 6})) != base
    assert hashed(protocol=replace(protocol, plan={**protocol.plan, "train": ["another@0:8x0:8"]})) == base
