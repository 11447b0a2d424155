import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from hsipipe.artifacts import ControlCheckpoint, DegradedPairs, DiffusionCheckpoint, GaeCheckpoint, RegressionCheckpoint
from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import DataError
from hsipipe.evaluation.evaluate import evaluate
from hsipipe.evaluation.evidence import SceneEvidence, choose_detail, choose_pixels, display_bands, read_index
from hsipipe.evaluation.rows import CeilingRow, Observation, Row, apply, pca_row, single_image_rows
from hsipipe.evaluation.scoring import score
from hsipipe.methods.checkpoint import save_checkpoint
from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.dmgasr.latent_net import LatentNet
from hsipipe.methods.networks.unet import Unet
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.methods.trained import single_image_models
from hsipipe.params import load_params
from hsipipe.protocols.metrics import METRIC, METRICS

MODEL_KEYS = {*(metric.key for metric in METRICS if not metric.of_pair), "kind"}


@pytest.fixture
def metrics(pairs, rows, protocol, tmp_path):
    return evaluate(pairs, rows, tmp_path, protocol=protocol)


def test_every_row_has_every_metric_per_scene_and_mean(metrics, rows, names):
    assert list(metrics["models"]) == [row.name for row in rows]
    assert all(set(values) == MODEL_KEYS for values in metrics["models"].values())
    assert list(metrics["scenes"]) == names
    per_scene = [metrics["scenes"][scene]["dmgasr"]["sam_deg"] for scene in names]
    assert metrics["models"]["dmgasr"]["sam_deg"] == pytest.approx(np.mean(per_scene))
    assert metrics["models"]["dmgasr"]["nfe"] == 4
    assert metrics["models"]["bicubic"]["seconds_per_image"] > 0


def test_numbers_are_those_of_score_on_the_clipped_prediction(metrics, pair):
    expected = score(np.clip(upsample(pair.lr, 4), 0, 1), pair.hr, 4, lr=pair.lr)
    got = metrics["scenes"][pair.name]["bicubic"]
    assert {key: got[key] for key in expected} == pytest.approx(expected)


def test_every_row_is_clipped(pairs, protocol, tmp_path):
    wild = Row("wild", "model", lambda seen: upsample(seen.lr, 4) * 100, 0)
    tree = evaluate(pairs, [wild], tmp_path, protocol=protocol)
    assert tree["models"]["wild"]["rmse"] < 1


def test_the_tree_is_strict_json_and_a_perfect_row_is_null(metrics):
    again = json.loads(json.dumps(metrics, allow_nan=False))
    assert again == metrics
    assert metrics["models"]["ae-ceiling"]["mpsnr_db"] is None
    assert metrics["models"]["ae-ceiling"]["sam_deg"] == 0


def test_protocol_test_set_gain_and_verdicts_are_recorded(metrics, protocol, names):
    assert metrics["protocol"]["hash"] == protocol.hash
    assert [entry["scene"] for entry in metrics["test_set"]] == names
    assert len({entry["sha256"] for entry in metrics["test_set"]}) == 2
    models = metrics["models"]
    gain = models["dmgasr"]["mpsnr_db"] - models["bicubic"]["mpsnr_db"]
    assert metrics["gain_db"]["dmgasr"] == pytest.approx(gain)
    assert "bicubic" not in metrics["gain_db"]
    assert metrics["verdicts"][0].startswith("dmgasr is ")


def test_models_are_given_no_truth(pair):
    assert {entry.name for entry in fields(Observation)} == {"name", "lr", "msi", "wavelength_nm"}
    seen = []
    apply(Row("spy", "model", lambda given: seen.append(given), 0), pair)
    assert type(seen[0]) is Observation
    assert not hasattr(seen[0], "hr")


def test_with_a_response_every_row_is_held_against_the_msi(pairs, rows, protocol, tmp_path, pair):
    response = pairs.response()
    metrics = evaluate(pairs, rows, tmp_path, protocol=protocol, response=response, of_pair=True)
    assert all(set(values) == {*METRIC, "kind"} for values in metrics["models"].values())
    sr = np.clip(upsample(pair.lr, 4), 0, 1)
    by_hand = -10 * np.log10(np.mean((np.tensordot(response, sr, 1) - pair.msi) ** 2))
    assert metrics["scenes"][pair.name]["bicubic"]["msi_consistency_psnr_db"] == pytest.approx(by_hand, abs=1e-4)
    assert metrics["models"]["ae-ceiling"]["msi_consistency_psnr_db"] > 100


def test_the_pca_row_is_fitted_on_training_scenes_and_named_after_k(pairs, pair):
    row = pca_row(pairs, 3)
    assert (row.name, row.kind) == ("pca-3-ceiling", "ceiling")
    (train,) = pairs.names("train")
    pixels = pairs.read("train", train).hr.reshape(13, -1).astype(np.float64)
    mean = pixels.mean(axis=1)[:, None]
    basis = np.linalg.svd(pixels - mean, full_matrices=False)[0][:, :3]
    expected = basis @ (basis.T @ (pair.hr.reshape(13, -1) - mean)) + mean
    assert np.allclose(row.reconstruct(pair), expected.reshape(pair.hr.shape), atol=1e-5)


def test_more_components_than_bands_are_named_as_many_as_there_are(pairs, rows, protocol, tmp_path):
    row = pca_row(pairs, 15)
    assert row.name == "pca-13-ceiling"
    metrics = evaluate(pairs, [rows[0], row, rows[2], rows[4]], tmp_path, protocol=protocol)
    assert metrics["verdicts"][-1].startswith("pca-13-ceiling is lossless")


def test_the_first_call_of_a_row_is_not_measured(pairs, protocol, names, tmp_path):
    shapes = []

    def slow_at_first(seen):
        shapes.append((seen.lr.shape, seen.msi.shape))
        return upsample(seen.lr, 4)

    evaluate(pairs, [Row("net", "model", slow_at_first, 1)], tmp_path, protocol=protocol)
    assert shapes == [((13, 8, 8), (3, 32, 32)), *[((13, 12, 12), (3, 48, 48))] * len(names)]


def test_a_scene_smaller_than_the_first_call_is_just_scored(pairs, protocol, names, tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.evaluation.evaluate._WARM_UP", 13)
    calls = []
    row = Row("net", "model", lambda seen: calls.append(seen.name) or upsample(seen.lr, 4), 1)
    evaluate(pairs, [row], tmp_path, protocol=protocol)
    assert calls == names


def test_a_row_that_cannot_be_scored_is_named_with_its_scene(pairs, names, protocol, tmp_path):
    broken = Row("broken", "model", lambda seen: upsample(seen.lr, 4)[:, :-4], 1)
    with pytest.raises(DataError, match=rf"broken on {names[0]}: sr has shape \(13, 44, 48\), hr has"):
        evaluate(pairs, [broken], tmp_path, protocol=protocol)


def test_nan_in_a_prediction_is_an_error_not_a_number(pairs, protocol, tmp_path):
    broken = Row("broken", "model", lambda seen: upsample(seen.lr, 4) * np.nan, 1)
    with pytest.raises(DataError, match=r"broken on .*: sr has 2304 NaN"):
        evaluate(pairs, [broken], tmp_path, protocol=protocol)


def test_no_test_scene_is_an_error(pairs, rows, protocol, tmp_path, monkeypatch):
    monkeypatch.setattr(DegradedPairs, "names", lambda pairs, split: [])
    with pytest.raises(DataError, match=r"no test scene.*split"):
        evaluate(pairs, rows, tmp_path, protocol=protocol)


def test_evidence_holds_results_alone_and_says_what_it_shows(metrics, pair, tmp_path):
    index = read_index(tmp_path)
    assert index["rows"] == ["bicubic", "regression", "pca-residual", "dmgasr"]
    scene = SceneEvidence.load(tmp_path / f"{pair.name}.npz")
    assert scene.rgb.shape == (4, 48, 48, 3)
    assert scene.lr_rgb.shape == (12, 12, 3)
    sr = np.clip(upsample(pair.lr, 4), 0, 1)
    assert np.allclose(scene.error[0], np.abs(sr - pair.hr).mean(axis=0), atol=1e-3)
    y, x = scene.pixels[2]
    assert np.array_equal(scene.hr_spectra[2], pair.hr[:, y, x])
    assert np.array_equal(scene.spectra[0, 2], sr[:, y, x])
    assert scene.wavelength_nm[scene.display_bands] == pytest.approx([650, 550, 450], abs=20)


def test_the_same_evaluation_gives_the_same_bytes(metrics, pair, pairs, rows, protocol, tmp_path):
    (tmp_path / "again").mkdir()
    evaluate(pairs, rows, tmp_path / "again", protocol=protocol)
    assert (tmp_path / "again" / f"{pair.name}.npz").read_bytes() == (tmp_path / f"{pair.name}.npz").read_bytes()


@pytest.mark.parametrize(
    ("wavelength_nm", "expected"),
    [
        (np.arange(400.0, 701, 10), [25, 15, 5]),
        (np.linspace(900, 1700, 31), [25, 15, 5]),
        (None, [25, 15, 5]),
        (np.linspace(400, 4000, 31), [25, 15, 5]),
    ],
)
def test_display_bands_are_red_green_blue_or_spread(wavelength_nm, expected):
    assert display_bands(31, wavelength_nm) == expected


def test_one_band_can_be_shown():
    assert display_bands(1, None) == [0, 0, 0]


def test_chosen_pixels_and_detail_follow_the_truth():
    hr = np.full((3, 40, 40), 0.5, np.float32)
    hr[:, :8] = 0.9
    hr[:, 30:, :20] = 0.1
    hr[:, 16:26:2, 22:32] = 0.6
    bright, median, dark, textured = choose_pixels(hr)
    assert hr[0, *bright] == np.float32(0.9)
    assert hr[0, *median] == np.float32(0.5)
    assert hr[0, *dark] == np.float32(0.1)
    assert textured[0] in (7, 8, 29, 30)
    y, x, height, width = choose_detail(hr)
    assert (height, width) == (10, 10)
    assert 14 <= y <= 18
    assert 20 <= x <= 24


def test_ceiling_rows_alone_see_the_truth(pair):
    assert apply(CeilingRow("c", lambda given: given.hr), pair) is pair.hr


def test_trained_models_stand_beside_bicubic_their_controls_and_the_ceilings(pairs, protocol, tmp_path):
    params = load_params(Path(__file__).parents[3] / "params.yaml")
    small = params.gae.model_copy(update={"n_subs": 4, "n_ovls": 1, "width": 4, "global_width": 4})
    unet = params.diffusion.unet.model_copy(update={"width": 8, "multipliers": [1], "blocks": 1})
    folders = {name: tmp_path / name for name in ("gae", "diffusion", "regression", "control", "out")}
    for folder in folders.values():
        folder.mkdir()
    control = PcaResidual(13, components=4, width=4, blocks=1, scale=4)
    modules = {"gae": GroupAutoencoder(13, small), "control": control}
    for objective in ("diffusion", "regression"):
        net = Unet(small.latent_channels, unet, patch=16)
        how = {"schedule": "cosine", "steps": 1000, "space": "residual", "target": "v", "scale": 4}
        how["scale_input"] = True
        modules[objective] = LatentNet(net, objective=objective, **how)
    for name, module in modules.items():
        save_checkpoint(folders[name], weights=module.state_dict(), config=module.config())
    trained = single_image_models(
        GaeCheckpoint(folders["gae"]),
        DiffusionCheckpoint(folders["diffusion"]),
        RegressionCheckpoint(folders["regression"]),
        ControlCheckpoint(folders["control"]),
        sampling=params.sampling,
    )
    rows = single_image_rows(pairs, trained, sampling=params.sampling)
    metrics = evaluate(pairs, rows, folders["out"], protocol=protocol, response=pairs.response(), of_pair=True)
    assert all(row["msi_consistency_psnr_db"] > 0 for row in metrics["models"].values())
    kinds = {name: row["kind"] for name, row in metrics["models"].items()}
    assert kinds == {
        "bicubic": "baseline",
        "pca-12-ceiling": "ceiling",
        "ae-ceiling": "ceiling",
        "latent-ceiling": "ceiling",
        "regression": "control",
        "pca-residual": "control",
        "dmgasr": "model",
    }
    assert (metrics["models"]["regression"]["nfe"], metrics["models"]["dmgasr"]["nfe"]) == (1, params.sampling.steps)
