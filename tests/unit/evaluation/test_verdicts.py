import pytest

from hsipipe.evaluation.verdicts import baseline_of, judge


def row(mpsnr, sam_deg=4.5, *, kind="method", nfe=4):
    return {"kind": kind, "mpsnr_db": mpsnr, "sam_deg": sam_deg, "nfe": nfe}


def tree(*, dmgasr=34.0, regression=33.5, sam=4.0, ae=50.0, pca=45.0, nfe=4, **others):
    models = {
        "bicubic": row(32.0),
        "dmgasr": row(dmgasr, sam, nfe=nfe),
        "dmgasr-regression": row(regression, nfe=1),
        **others,
        "pca-6-ceiling": row(pca, kind="ceiling"),
        "ae-ceiling": row(ae, kind="ceiling"),
    }
    return {"models": models, "scenes": {"a": models, "b": {**models, "dmgasr": row(31.0)}}}


def test_a_good_result_has_its_amounts():
    verdicts = judge(tree())
    assert [verdict.text for verdict in verdicts] == [
        "dmgasr is 2.00 dB MPSNR above bicubic (34.00 against 32.00; above it on 1 of 2 test scenes).",
        "The SAM of dmgasr is 0.50 degrees below bicubic's (4.00 against 4.50).",
        "dmgasr is 0.50 dB MPSNR above dmgasr-regression, the next best (34.00 against 33.50; above it on 1 of 2 test "
        "scenes).",
        "ae-ceiling is 5.00 dB MPSNR above pca-6-ceiling (50.00 against 45.00).",
    ]
    assert all(verdict.ok for verdict in verdicts)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dmgasr": 31.7}, "dmgasr is NOT above bicubic: it is 0.30 dB MPSNR below it"),
        ({"dmgasr": 32.0}, "dmgasr is NOT above bicubic: it is 0.00 dB"),
        ({"dmgasr": 30.0, "regression": 31.7}, "dmgasr-regression is NOT above bicubic: it is 0.30 dB MPSNR below it"),
        ({"sam": 4.502}, "WORSE spectra than bicubic: its SAM is 0.002 degrees higher"),
        ({"ae": 40.0}, "5.00 dB MPSNR BELOW pca-6-ceiling"),
        ({"dmgasr": None}, "dmgasr cannot be compared with bicubic"),
        ({"sam": None}, "The SAM of dmgasr and bicubic cannot be compared"),
        ({"ae": None}, "ae-ceiling and pca-6-ceiling cannot be compared"),
    ],
)
def test_a_bad_result_is_named(change, sentence):
    bad = [verdict.text for verdict in judge(tree(**change)) if not verdict.ok]
    assert any(sentence in text for text in bad), bad


def test_an_equal_sam_is_no_fault():
    assert judge(tree(sam=4.5))[1].ok


def test_one_row_is_not_judged():
    only = tree()
    only["models"] = {"bicubic": only["models"]["bicubic"]}
    assert judge(only) == judge({"models": {}, "scenes": {}}) == []


def test_one_network_evaluation_is_said_to_sample_nothing():
    (verdict,) = [verdict for verdict in judge(tree(nfe=1)) if "NFE 1" in verdict.text]
    assert not verdict.ok
    assert verdict.text == (
        "dmgasr evaluates its network once per image (NFE 1), so nothing is sampled: its prediction is the network's "
        "estimate of the mean, the same kind of prediction as dmgasr-regression."
    )


def test_the_best_is_compared_with_the_next_best_and_a_diffusion_with_its_regression():
    texts = [verdict.text for verdict in judge(tree(**{"pca-residual": row(34.25, 3.5, nfe=1)}))]
    assert texts[0].startswith("pca-residual is 2.25 dB MPSNR above bicubic")
    assert texts[2].startswith("pca-residual is 0.25 dB MPSNR above dmgasr, the next best")
    assert texts[3].startswith("dmgasr is 0.50 dB MPSNR above dmgasr-regression (")


def test_every_method_below_the_first_row_is_named():
    verdicts = judge(tree(gsa=row(31.0), sfim=row(30.0)))
    bad = [verdict.text for verdict in verdicts if not verdict.ok]
    assert [text.split(":")[0] for text in bad] == ["gsa is NOT above bicubic", "sfim is NOT above bicubic"]


@pytest.mark.parametrize("pca", [None, 151.2])
def test_components_that_lose_nothing_bound_nothing(pca):
    verdict = judge(tree(pca=pca))[-1]
    assert not verdict.ok
    assert verdict.text == (
        "pca-6-ceiling is lossless: the truth needs no more components than the latents have channels, so there is no "
        "bound to judge ae-ceiling by."
    )


@pytest.mark.parametrize("pca", [45.0, 55.0, None])
@pytest.mark.parametrize(
    ("latent", "says"),
    [
        (52.0, "lifts the model's bound to 52.00 (latent-ceiling)."),
        (48.0, "does not lift the model's bound; it is 48.00 (latent-ceiling)."),
    ],
)
def test_the_models_own_decoding_moves_the_bound(pca, latent, says):
    text = judge(tree(pca=pca, **{"latent-ceiling": row(latent, kind="ceiling")}))[-1].text
    assert "(residual decoding and consistency, as set in `sampling`)" in text
    assert text.endswith(says)


def test_the_baseline_is_the_first_row_or_the_one_that_the_tree_names():
    assert baseline_of(tree()) == "bicubic"
    named = tree() | {"baseline": "dmgasr-regression"}
    assert baseline_of(named) == "dmgasr-regression"
    assert judge(named)[0].text.startswith("dmgasr is 0.50 dB MPSNR above dmgasr-regression (")
    assert baseline_of({"models": {}}) is None


def test_no_verdict_is_drawn_from_a_training_that_was_not_completed():
    fault = "collapsed at step 800 after 2 restarts"
    told = [verdict.text for verdict in judge({**tree(), "faults": {"dmgasr-regression": fault, "ae-ceiling": "x"}})]
    assert told[-2:] == [f"dmgasr-regression is in no comparison: {fault}.", "ae-ceiling is in no comparison: x."]
    assert not any("dmgasr-regression" in text or "ae-ceiling" in text for text in told[:-2])
    assert told[0].startswith("dmgasr is 2.00 dB MPSNR above bicubic")


def sampled(*, covered=90.5, crps=0.75, base=0.76, error=1.0):
    """A posterior and its twin without a diffusion, with the prediction of their regression."""
    point = {"kind": "method", "mpsnr_db": 34.0, "sam_deg": 4.0, "ergas": 2.0, "nfe": 1}
    models = {
        "bicubic": row(32.0),
        "net": {**point, "crps": error},
        "net-diffusion": {**point, "crps": crps, "coverage_90": covered},
        "net-scale": {**point, "crps": base, "coverage_90": 90.0},
    }
    numbers = {"net-diffusion": {"sample_nfe": 10}, "net-scale": {"sample_nfe": 0}}
    uncertainty = {name: {**own, "mean_absolute_error": error} for name, own in numbers.items()}
    return judge({"models": models, "scenes": {}, "uncertainty": uncertainty})


def test_samples_are_judged_and_equal_predictions_are_not_compared():
    assert [(verdict.ok, verdict.text) for verdict in sampled()][2:] == [
        (True, "The 90 % intervals of net-diffusion hold 90.5 % of the values."),
        (
            True,
            "The samples of net-diffusion have a CRPS of 0.75 times the mean absolute error of its prediction (0.71 is "
            "ideal for normal errors).",
        ),
        (True, "The CRPS of net-diffusion is below that of net-scale: -1.3 %."),
        (True, "The 90 % intervals of net-scale hold 90.0 % of the values."),
        (
            True,
            "The samples of net-scale have a CRPS of 0.76 times the mean absolute error of its prediction (0.71 is "
            "ideal for normal errors).",
        ),
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"covered": 80.0}, "hold 80.0 % of the values"),
        ({"crps": 1.1}, "a CRPS of 1.10 times the mean absolute error"),
        ({"crps": 0.8}, "The CRPS of net-diffusion is NOT below that of net-scale: +5.3 %."),
    ],
)
def test_samples_that_are_worse_are_named(change, sentence):
    assert [verdict.ok for verdict in sampled(**change) if sentence in verdict.text] == [False]
