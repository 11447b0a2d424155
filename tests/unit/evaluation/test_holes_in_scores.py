"""Scores, evidence and pictures of pairs with pixels that have no data."""

from dataclasses import replace

import numpy as np
import pytest
from holes import with_holes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsipipe.artifacts.no_data import NO_DATA, filled
from hsipipe.degradation.masked import downsample_valid
from hsipipe.degradation.psf import Psf
from hsipipe.evaluation.comparison import RowScores, compare_scores
from hsipipe.evaluation.contest import compare
from hsipipe.evaluation.ensemble import Ensemble, SpectralFrame
from hsipipe.evaluation.evidence import NO_DATA_GREY, SceneEvidence
from hsipipe.evaluation.predicted import PredictedCube
from hsipipe.evaluation.report import write_report
from hsipipe.evaluation.score_samples import calibration_of, sample_metrics
from hsipipe.evaluation.scoring import score
from hsipipe.evaluation.viewers import make_viewer
from hsipipe.methods.bicubic import Bicubic

SCALE = 4


def holes(seed=0, share=0.2):
    """Stripes of one LR pixel, and single pixels."""
    where = np.random.default_rng(seed).random((48, 48)) < share / 4
    where[:, 8:12] = where[:, 28:32] = True
    where[20:30, 33:47] = True
    return where


def holed(pair, where):
    """The pair with pixels that have no data, as it is read from a store."""
    valid = ~where
    low = valid.reshape(12, SCALE, 12, SCALE).any(axis=(1, 3))
    return replace(pair, hr=filled(pair.hr, valid), lr=filled(pair.lr, low), msi=filled(pair.msi, valid), valid=valid)


@pytest.fixture
def everything(pair, protocol):
    """A function that gives all metrics of a prediction and of its samples over the pixels with data."""
    rng = np.random.default_rng(3)
    frame = SpectralFrame(np.eye(len(pair.hr))[:4], np.ones(4))
    response = np.full((len(pair.msi), len(pair.hr)), 1 / len(pair.hr))
    noise = rng.normal(0, 0.02, (4, *pair.hr.shape)).astype(np.float32)

    def everything(own, sr):
        given = {"lr": own.lr, "msi": own.msi, "response": response, "valid": own.valid}
        samples = [(sr + extra).astype(np.float32) for extra in noise]
        ensemble = Ensemble.of(samples, sr, around_mean=False, interval_scale=1.0, limits=(0.0, 1.0))
        return score(sr, own.hr, SCALE, **given) | sample_metrics(ensemble, own, frame, protocol)

    return everything


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key], equal_nan=True) for key in one)


def prediction(pair):
    return Bicubic(SCALE).predict(pair.lr[None])[0].clip(0, 1)


def test_a_full_mask_changes_no_bit(pair, everything):
    sr = prediction(pair)
    assert same(everything(pair, sr), everything(replace(pair, valid=np.ones((48, 48), bool)), sr))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), under=st.sampled_from([0.0, 1.0, -3.0]))
def test_values_under_the_mask_change_nothing(pair, everything, seed, under):
    own = holed(pair, holes(seed))
    sr = prediction(own)
    other = replace(own, hr=np.where(own.valid, own.hr, np.float32(under)))
    values = everything(own, sr)
    assert same(values, everything(replace(other, hr=filled(other.hr, own.valid)), sr))
    strange = np.where(own.valid, sr, np.float32(under))
    plain = score(sr, own.hr, SCALE, lr=own.lr, valid=own.valid)
    assert same(plain, score(strange, other.hr, SCALE, lr=own.lr, valid=own.valid))


def test_every_metric_is_near_that_of_the_whole_scene(pair, everything):
    """Most of the scene is still there, so that no metric moves far."""
    where = holes()
    whole, part = everything(pair, prediction(pair)), everything(holed(pair, where), prediction(pair))
    assert whole.keys() == part.keys()
    for key in ("mpsnr_db", "sam_deg", "ergas", "rmse", "mssim", "crps", "coverage_90", "spread_skill"):
        assert part[key] == pytest.approx(whole[key], rel=0.1), key
    assert np.isfinite(list(part.values())).all()


def test_the_consistency_counts_no_hole(pair):
    """The LR of pixels with data, from the pixels with data, is what a perfect prediction gives."""
    own = holed(pair, holes())
    low, seen = downsample_valid(own.hr, own.valid, SCALE, psf=Psf())
    low = filled(low, seen)
    assert score(own.hr, own.hr, SCALE, lr=low, valid=own.valid)["consistency_psnr_db"] > 120


def test_calibration_counts_pixels_with_data(pair):
    own = holed(pair, holes())
    sr = prediction(own)
    samples = [sr + np.float32(step) for step in (-0.02, -0.01, 0.01, 0.02)]

    def ensemble(under):
        images = [np.where(own.valid, sample, np.float32(under)) for sample in samples]
        return Ensemble.of(images, sr, around_mean=False, interval_scale=1.0, limits=(0.0, 1.0))

    one, other = calibration_of(ensemble(0.0), own), calibration_of(ensemble(0.7), own)
    assert one["sums"][0].sum() == own.valid.sum() * len(own.hr)
    assert all(np.array_equal(one[key], other[key]) for key in ("sums", "ranks", "coverage_by_level"))


def test_evidence_shows_no_data_as_such(pair):
    own, sr = holed(pair, holes()), prediction(pair)
    evidence = SceneEvidence.of(own, sr, Ensemble.point(sr))
    grey = np.full(3, NO_DATA_GREY)
    assert (evidence.rgb[0][~own.valid] == grey).all()
    assert (evidence.hr_rgb[~own.valid] == grey).all()
    assert (evidence.lr_rgb[~own.lr_valid] == grey).all()
    assert np.array_equal(np.isnan(evidence.error[0]), ~own.valid)
    assert own.valid[tuple(evidence.pixels.T)].all()
    assert np.isfinite(evidence.band_psnr_db).all()
    assert np.isfinite(evidence.power).all()
    kept = PredictedCube.of(own, sr, SCALE)
    assert np.array_equal(kept.components.valid, kept.window.cut(own.valid))


@pytest.fixture(scope="session")
def pairs_with_holes(pairs, tmp_path_factory):
    """The pairs, with holes in every region."""
    return with_holes(pairs, tmp_path_factory.mktemp("holed") / "pairs", holes())


def test_scores_of_a_scene_with_holes_are_near_those_without(pairs_with_holes, scored, net):
    method = net(bounds=True, varied=True)
    (_, whole), (folder, part) = scored(method), scored(method, of=pairs_with_holes)
    for scene, rows in part["scenes"].items():
        for row, values in rows.items():
            if np.isfinite(whole["scenes"][scene][row]["mpsnr_db"] or np.nan):
                assert values["mpsnr_db"] == pytest.approx(whole["scenes"][scene][row]["mpsnr_db"], abs=1.5)
    assert part["val_mpsnr_db"] == pytest.approx(whole["val_mpsnr_db"], abs=1.5)
    shares = [entry[NO_DATA] for entry in part["test_set"]]
    assert shares == [pytest.approx(holes().mean())] * 2
    assert all(NO_DATA not in entry for entry in whole["test_set"])
    name = pairs_with_holes.names("test")[0]
    viewer = make_viewer(
        pairs_with_holes.read("test", name),
        {"dmgasr": folder},
        compare_scores([RowScores("dmgasr", [part])]),
        most_bytes=10_000_000,
    )
    assert viewer is not None
    assert "NaN" not in viewer.data


def test_the_gate_takes_scenes_with_holes(pairs_with_holes, protocol, sampling, net):
    contest = compare((net(), Bicubic(SCALE)), pairs_with_holes, protocol=protocol, sampling=sampling)
    for scores in contest.scores:
        for values in scores.values():
            assert all(np.isfinite(values[key]) for key in ("mpsnr_db", "sam_deg", "ergas", "consistency_psnr_db"))


def test_the_report_says_and_draws_what_has_no_data(pairs_with_holes, scored, net, tmp_path):
    folder, tree = scored(net(varied=True), of=pairs_with_holes)
    metrics = compare_scores([RowScores("dmgasr", [tree])])
    write_report({"dmgasr": folder}, metrics, tmp_path, pairs=pairs_with_holes)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert f"{100 * holes().mean():.1f} % of the pixels without data" in page
    assert list((tmp_path / "figures").glob("*-errors*.png"))
