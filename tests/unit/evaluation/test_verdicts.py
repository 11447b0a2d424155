import pytest

from hsipipe.evaluation.verdicts import baseline_of, judge


def tree(*, dmgasr=34.0, regression=33.5, sam=4.0, ae=50.0, pca=45.0, nfe=4):
    def row(kind, mpsnr, sam_deg=4.5):
        return {"kind": kind, "mpsnr_db": mpsnr, "sam_deg": sam_deg, "nfe": nfe}

    models = {
        "bicubic": row("baseline", 32.0),
        "pca-6-ceiling": row("ceiling", pca),
        "ae-ceiling": row("ceiling", ae),
        "regression": row("control", regression),
        "dmgasr": row("model", dmgasr, sam),
    }
    return {"models": models, "scenes": {"a": models, "b": {**models, "dmgasr": row("model", 31.0)}}}


def test_a_good_result_says_by_how_much():
    verdicts = judge(tree())
    assert [verdict.text for verdict in verdicts] == [
        "dmgasr is 2.00 dB MPSNR above bicubic (34.00 against 32.00; above it on 1 of 2 test scenes).",
        "The SAM of dmgasr is 0.50 degrees below bicubic's (4.00 against 4.50).",
        "dmgasr is 0.50 dB MPSNR above the control regression (34.00 against 33.50; above it on 1 of 2 test scenes).",
        "ae-ceiling is 5.00 dB MPSNR above pca-6-ceiling (50.00 against 45.00).",
    ]
    assert all(verdict.ok for verdict in verdicts)


@pytest.mark.parametrize(
    ("change", "index", "sentence"),
    [
        ({"dmgasr": 31.7}, 0, "dmgasr is NOT above bicubic: it is 0.30 dB MPSNR below it"),
        ({"dmgasr": 32.0}, 0, "dmgasr is NOT above bicubic: it is 0.00 dB"),
        ({"sam": 4.502}, 1, "WORSE spectra than bicubic: its SAM is 0.002 degrees higher"),
        ({"regression": 34.25}, 2, "NOT above the control regression: it is 0.25 dB MPSNR below it"),
        ({"ae": 40.0}, 3, "5.00 dB MPSNR BELOW pca-6-ceiling"),
        ({"dmgasr": None}, 0, "cannot be compared with bicubic"),
        ({"sam": None}, 1, "cannot be compared"),
        ({"ae": None}, 3, "cannot be compared"),
    ],
)
def test_a_bad_result_says_so(change, index, sentence):
    verdict = judge(tree(**change))[index]
    assert not verdict.ok
    assert sentence in verdict.text


def test_an_equal_sam_is_no_fault():
    assert judge(tree(sam=4.5))[1].ok


def test_rows_that_are_not_there_are_not_judged():
    only = tree()
    only["models"] = {"bicubic": only["models"]["bicubic"]}
    assert judge(only) == []


def test_one_network_evaluation_is_said_to_sample_nothing():
    verdict = judge(tree(nfe=1))[3]
    assert not verdict.ok
    assert verdict.text == (
        "dmgasr evaluates its network once per image (NFE 1), so nothing is sampled: its prediction is the network's "
        "estimate of the mean, the same kind of prediction as the control regression."
    )


def test_every_control_is_compared_and_named():
    both = tree(nfe=1)
    both["models"]["pca-residual"] = {"kind": "control", "mpsnr_db": 34.25, "sam_deg": 3.5, "nfe": 1}
    verdicts = judge(both)
    assert [verdict.ok for verdict in verdicts[2:5]] == [True, False, False]
    assert "0.50 dB MPSNR above the control regression" in verdicts[2].text
    assert "NOT above the control pca-residual: it is 0.25 dB MPSNR below it (34.00 against 34.25" in verdicts[3].text
    assert verdicts[4].text.endswith("the same kind of prediction as the controls regression and pca-residual.")


def test_without_a_control_one_evaluation_is_still_no_sample():
    alone = tree(nfe=1)
    del alone["models"]["regression"]
    assert judge(alone)[2].text.endswith("its prediction is the network's estimate of the mean.")


@pytest.mark.parametrize("pca", [None, 151.2])
def test_components_that_lose_nothing_bound_nothing(pca):
    verdict = judge(tree(pca=pca))[3]
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
def test_how_far_the_models_own_decoding_moves_the_bound(pca, latent, says):
    with_latent = tree(pca=pca)
    with_latent["models"]["latent-ceiling"] = {"kind": "ceiling", "mpsnr_db": latent}
    text = judge(with_latent)[3].text
    assert "(residual decoding and consistency, as set in `sampling`)" in text
    assert text.endswith(says)


def test_on_the_grid_of_the_truth_the_input_is_the_baseline():
    noisy = tree()
    for rows in (noisy["models"], *noisy["scenes"].values()):
        rows["input"] = rows.pop("bicubic", noisy["models"].get("input"))
    texts = [verdict.text for verdict in judge(noisy)[:2]]
    assert texts == [
        "dmgasr is 2.00 dB MPSNR above the input (34.00 against 32.00; above it on 1 of 2 test scenes).",
        "The SAM of dmgasr is 0.50 degrees below the input's (4.00 against 4.50).",
    ]
    assert baseline_of(noisy["models"]) == "input"
