"""One method on whole test scenes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from hsipipe.artifacts import DegradedPairs
from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import DataError
from hsipipe.evaluation import score_method as module
from hsipipe.evaluation.metrics import mpsnr_db
from hsipipe.evaluation.score_method import pair_digest
from hsipipe.evaluation.scoring import score
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.catalogue import method_settings
from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.dmgasr.latent_net import LatentNet
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.methods.networks.unet import Unet
from hsipipe.params import GaeParams, load_params
from hsipipe.protocols.metrics import METRIC, METRICS

OF_ONE = {metric.key for metric in METRICS if not metric.of_pair and not metric.of_samples}
OF_A_POINT = {"crps", "energy_score", "psd_error", "edge_sharpness", "block_max_crps", "bright_area_crps"}
"""Metrics of samples that a prediction without samples has, too."""


@dataclass(frozen=True)
class Spy(Bicubic):
    """Interpolation that remembers what it was given."""

    scale: int = 4
    change: Callable = lambda sr: sr
    seen: list = field(default_factory=list)

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        self.seen.append((lr.shape[1:], msi))
        return self.change(super().predict(lr))


def test_the_method_and_its_ceilings_have_every_metric_per_scene(all_scores, names):
    _, tree = all_scores["dmgasr"]
    assert tree["kinds"] == {"dmgasr": "method", "pca-3-ceiling": "ceiling", "ae-ceiling": "ceiling"}
    assert list(tree["scenes"]) == names
    for rows in tree["scenes"].values():
        for name, values in rows.items():
            assert set(values) == OF_ONE | (OF_A_POINT if tree["kinds"][name] == "method" else set())
    assert {rows["dmgasr"]["nfe"] for rows in tree["scenes"].values()} == {4}
    assert {rows["ae-ceiling"]["nfe"] for rows in tree["scenes"].values()} == {0}
    assert all(rows["dmgasr"]["seconds_per_image"] > 0 for rows in tree["scenes"].values())


def test_a_method_without_bounds_has_none(all_scores):
    assert all_scores["bicubic"][1]["kinds"] == {"bicubic": "method"}


def test_numbers_are_those_of_score_on_the_clipped_prediction(all_scores, pair):
    expected = score(np.clip(upsample(pair.lr, 4), 0, 1), pair.hr, 4, lr=pair.lr)
    got = all_scores["bicubic"][1]["scenes"][pair.name]["bicubic"]
    assert {key: got[key] for key in expected} == pytest.approx(expected)


def test_every_prediction_is_clipped(scored, names):
    _, tree = scored(Spy(change=lambda sr: sr * 100), "wild")
    assert all(tree["scenes"][name]["wild"]["rmse"] < 1 for name in names)


def test_the_tree_is_the_file_and_strict_json_and_a_perfect_row_is_null(all_scores, names):
    folder, tree = all_scores["dmgasr"]
    assert json.loads((folder / "scores.json").read_text()) == tree == json.loads(json.dumps(tree, allow_nan=False))
    assert tree["scenes"][names[0]]["ae-ceiling"]["mpsnr_db"] is None
    assert tree["scenes"][names[0]]["ae-ceiling"]["sam_deg"] == 0


def test_protocol_test_set_and_model_are_recorded(all_scores, protocol, pairs, names):
    _, tree = all_scores["dmgasr"]
    assert tree["protocol"] == json.loads(json.dumps(protocol.as_json()))
    assert [entry["scene"] for entry in tree["test_set"]] == names
    assert [entry["sha256"] for entry in tree["test_set"]] == [pair_digest(pairs.read("test", n)) for n in names]
    assert tree["test_set"][0]["sha256"] != tree["test_set"][1]["sha256"]
    assert (tree["name"], tree["sha256"], tree["trained"], tree["fuses"]) == ("dmgasr", "0" * 64, True, False)
    assert all_scores["bicubic"][1]["trained"] is False


def test_a_method_of_one_image_gets_no_msi_and_no_method_gets_the_truth(scored):
    spy = Spy()
    scored(spy, "spy")
    assert {msi for _, msi in spy.seen} == {None}


def test_a_method_that_fuses_is_compared_with_the_msi(scored, net, pairs, pair):
    _, tree = scored(net(fuses=True, bounds=True), "fused")
    of_samples = {metric.key for metric in METRICS if metric.of_samples}
    assert all(set(values) | of_samples == set(METRIC) for rows in tree["scenes"].values() for values in rows.values())
    sr = np.clip(net().predict(pair.lr[None])[0], 0, 1)
    by_hand = -10 * np.log10(np.mean((np.tensordot(pairs.response(), sr, 1) - pair.msi) ** 2))
    got = tree["scenes"][pair.name]
    assert got["fused"]["msi_consistency_psnr_db"] == pytest.approx(by_hand, abs=1e-4)
    assert got["ae-ceiling"]["msi_consistency_psnr_db"] > 100


def test_a_method_that_fuses_needs_an_msi(scored, net, monkeypatch):
    read = DegradedPairs.read
    monkeypatch.setattr(DegradedPairs, "read", lambda *given, **more: replace(read(*given, **more), msi=None))
    with pytest.raises(DataError, match=r"the pairs have none; set degradation\.srf"):
        scored(net(fuses=True), "fused")


def test_the_pca_ceiling_is_fitted_on_training_scenes(all_scores, pairs, pair):
    (train,) = pairs.names("train")
    pixels = pairs.read("train", train).hr.reshape(13, -1).astype(np.float64)
    mean = pixels.mean(axis=1)[:, None]
    basis = np.linalg.svd(pixels - mean, full_matrices=False)[0][:, :3]
    expected = (basis @ (basis.T @ (pair.hr.reshape(13, -1) - mean)) + mean).reshape(pair.hr.shape)
    got = all_scores["dmgasr"][1]["scenes"][pair.name]["pca-3-ceiling"]
    by_hand = -10 * np.log10(np.square(expected.clip(0, 1) - pair.hr).mean(axis=(1, 2))).mean()
    assert got["mpsnr_db"] == pytest.approx(by_hand, abs=0.01)


def test_more_components_than_bands_are_named_as_many_as_there_are(scored, net, monkeypatch):
    monkeypatch.setattr(type(net()), "components", 15)
    assert list(scored(net(bounds=True))[1]["kinds"]) == ["dmgasr", "pca-13-ceiling", "ae-ceiling"]


def test_the_first_call_is_not_measured(scored, names):
    spy = Spy()
    scored(spy, "spy")
    assert [shape for shape, _ in spy.seen] == [(13, 8, 8), *[(13, 12, 12)] * len(names)]


def test_a_scene_smaller_than_the_first_call_is_just_scored(scored, names, monkeypatch):
    monkeypatch.setattr(module, "_WARM_UP", 13)
    spy = Spy()
    scored(spy, "spy")
    assert [shape for shape, _ in spy.seen] == [(13, 12, 12)] * len(names)


def test_a_prediction_that_cannot_be_scored_is_named_with_its_scene(scored, names):
    with pytest.raises(DataError, match=rf"broken on {names[0]}: Got a prediction of shape \(13, 28, 32\)"):
        scored(Spy(change=lambda sr: sr[:, :, :-4]), "broken")


def test_nan_in_a_prediction_is_an_error_not_a_number(scored):
    with pytest.raises(DataError, match=r"broken on .*: sr has \d+ NaN"):
        scored(Spy(change=lambda sr: sr * np.nan), "broken")


@pytest.mark.parametrize(("split", "says"), [("test", "no test scene"), ("val", "no validation scene")])
def test_without_scenes_nothing_is_scored(scored, net, monkeypatch, split, says):
    names = DegradedPairs.names
    monkeypatch.setattr(DegradedPairs, "names", lambda pairs, of: [] if of == split else names(pairs, of))
    with pytest.raises(DataError, match=rf"{says}.*split"):
        scored(net())


def test_a_trained_method_is_validated_on_the_validation_scenes(all_scores, pairs, net):
    sr = {name: net().predict(pairs.read("val", name).lr[None])[0].clip(0, 1) for name in pairs.names("val")}
    values = [mpsnr_db(np.square(sr[n].astype(np.float64) - pairs.read("val", n).hr).mean(axis=(1, 2))) for n in sr]
    assert all_scores["dmgasr"][1]["val_mpsnr_db"] == pytest.approx(np.mean(values), abs=1e-4)
    assert "val_mpsnr_db" not in all_scores["bicubic"][1]


def test_the_same_method_gives_the_same_pictures(all_scores, methods, scored, names):
    again, _ = scored(methods["dmgasr"])
    for name in names:
        assert (again / f"{name}.npz").read_bytes() == (all_scores["dmgasr"][0] / f"{name}.npz").read_bytes()


def test_a_latent_method_is_scored_with_its_bounds(scored, pairs, repository):
    params = load_params(repository / "params.yaml")
    gae = {**params.gae["standard"], "n_subs": 4, "n_ovls": 1, "width": 4, "global_width": 4}
    settings = method_settings(params, "dmgasr-latent")
    settings = settings.model_copy(update={"unet": settings.unet.model_copy(update={"width": 8, "blocks": 1})})
    autoencoder = GroupAutoencoder(13, GaeParams.model_validate(gae))
    how = {"schedule": "cosine", "steps": 1000, "space": "residual", "target": "x0", "scale_input": True, "scale": 4}
    unet = Unet(autoencoder.latent_channels, settings.unet, patch=16)
    net = LatentNet(unet, objective="diffusion", **how)
    _, tree = scored(Dmgasr(autoencoder, net, sampling=params.sampling.of("dmgasr")))
    assert tree["kinds"] == {
        "dmgasr": "method",
        "pca-12-ceiling": "ceiling",
        "ae-ceiling": "ceiling",
        "latent-ceiling": "ceiling",
    }
