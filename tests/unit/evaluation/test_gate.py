"""The gate's arithmetic: who passes, who does not, and with what certainty."""

import math
from itertools import product

import numpy as np
import pytest

from hsipipe.errors import DataError
from hsipipe.evaluation.gate import bound, decide


@pytest.fixture
def gate(make_params):
    return make_params("gate", max_sam_rise_deg=0.05, enough_consistency_db=50.0)


def scores(*values):
    """Of scenes a, b, ...: (mpsnr_db, sam_deg, ergas, consistency_psnr_db) each."""
    keys = ("mpsnr_db", "sam_deg", "ergas", "consistency_psnr_db")
    return {chr(97 + number): dict(zip(keys, of_scene, strict=True)) for number, of_scene in enumerate(values)}


CHAMPION = scores((30.0, 3.0, 5.0, 60.0), (34.0, 2.0, 4.0, 62.0), (28.0, 4.0, 6.0, 61.0))
BETTER = scores((30.4, 2.9, 4.8, 61.0), (34.3, 2.0, 3.9, 63.0), (28.5, 3.9, 5.7, 62.0))


def judged(challenger, gate, *, champion=CHAMPION, latency_s=(0.1, 0.1)):
    return decide(challenger, champion, latency_s=latency_s, gate=gate)


def test_better_everywhere_passes(gate):
    decision = judged(BETTER, gate)
    assert decision.promote
    assert decision.reasons == ()
    assert decision.scenes == ("a", "b", "c")
    gain = decision.checks[0]
    assert (gain.metric, gain.passed) == ("mpsnr_db", True)
    assert gain.difference == pytest.approx(0.4)
    assert 0.3 <= gain.bound <= gain.difference


def test_the_same_scores_do_not_pass(gate):
    decision = judged(CHAMPION, gate)
    assert not decision.promote
    assert [check.metric for check in decision.checks if not check.passed] == ["mpsnr_db"]


def test_a_gain_on_average_that_one_scene_pays_for_does_not_pass(gate):
    uneven = scores((32.0, 3.0, 5.0, 60.0), (34.1, 2.0, 4.0, 62.0), (27.0, 4.0, 6.0, 61.0))
    decision = judged(uneven, gate)
    assert decision.checks[0].difference > 0
    assert not decision.promote


@pytest.mark.parametrize(
    ("index", "worse", "metric"),
    [(1, 0.2, "sam_deg"), (2, 0.5, "ergas"), (3, -20.0, "consistency_psnr_db")],
)
def test_a_better_psnr_does_not_buy_another_metric(gate, index, worse, metric):
    changed = [list(of_scene.values()) for of_scene in BETTER.values()]
    for values in changed:
        values[index] += worse
    decision = judged(scores(*changed), gate)
    assert [check.metric for check in decision.checks if not check.passed] == [metric]
    assert len(decision.reasons) == 1


def test_agreement_beyond_what_matters_is_no_condition(gate):
    exact = scores(*[(*list(of_scene.values())[:3], math.inf) for of_scene in CHAMPION.values()])
    assert judged(BETTER, gate, champion=exact).promote


def test_slow_does_not_pass(gate):
    decision = judged(BETTER, gate, latency_s=(0.16, 0.1))
    assert [check.metric for check in decision.checks if not check.passed] == ["latency"]
    assert judged(BETTER, gate, latency_s=None).promote


def test_a_score_that_is_no_number_does_not_pass(gate):
    broken = scores((math.nan, 2.9, 4.8, 61.0), *[tuple(of.values()) for of in list(BETTER.values())[1:]])
    assert not judged(broken, gate).promote


def test_too_few_scenes_do_not_pass(gate):
    one = {"a": BETTER["a"]}
    decision = judged(one, gate, champion={"a": CHAMPION["a"]})
    assert not decision.promote
    assert decision.checks == ()
    assert "1 test scenes" in decision.reasons[0]


def test_scores_of_other_scenes_are_refused(gate):
    with pytest.raises(DataError, match="same scenes"):
        judged({"z": BETTER["a"]}, gate, champion={"a": CHAMPION["a"]})


def test_the_bound_is_that_of_all_resamples_of_few_scenes(make_params):
    """Three scenes have 27 equally likely resamples: the quantile of their means, counted out."""
    differences = np.array([0.1, 0.4, -0.2])
    means = np.sort([np.mean(drawn) for drawn in product(differences, repeat=3)])
    gate = make_params("gate", confidence=0.9, resamples=40_000)
    assert bound(differences, upper=False, gate=gate) == pytest.approx(means[math.floor(0.1 * 27)], abs=1e-9)
    assert bound(differences, upper=True, gate=gate) == pytest.approx(means[math.ceil(0.9 * 27) - 1], abs=1e-9)


def test_the_bound_holds_as_often_as_it_says(make_params):
    """Of many experiments with a known mean, about nineteen in twenty have it above the lower bound."""
    gate, rng = make_params("gate", resamples=400), np.random.default_rng(0)
    held = [bound(rng.normal(0.3, 1.0, 30), upper=False, gate=gate) < 0.3 for _ in range(400)]
    assert 0.90 < np.mean(held) < 0.98


def test_the_tree_is_strict_json(gate):
    import json

    broken = scores((math.nan, 2.9, 4.8, 61.0), (34.3, 2.0, 3.9, math.inf))
    champion = {name: CHAMPION[name] for name in "ab"}
    text = json.dumps(judged(broken, gate, champion=champion).as_json(), allow_nan=False)
    assert json.loads(text)["promote"] is False
