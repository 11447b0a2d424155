"""Candidates within a time: the choice, the training, and the messages."""

import io
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.linalg import LinAlgError
from rich.console import Console

from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError
from hsipipe.inference.plan import Box
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.bicubic import Bicubic
from hsipipe.sharpen import candidates
from hsipipe.sharpen.compare import Candidate, Clock, Comparison, choose, compare
from hsipipe.sharpen.fit import fit_network
from hsipipe.sharpen.reduced import reduce_scene
from hsipipe.sharpen.regions import plan_regions
from hsipipe.sharpen.report import Report
from hsipipe.sharpen.scores import Score, band_groups, gains_by_group, score_box, unscored_bands


@dataclass
class Named:
    name: str


def candidate(name, choosing, judging, bands=None, note=""):
    scores = [
        Score({"mpsnr_db": value, "sam_deg": 1.0, "ergas": 2.0}, np.full(2, value) if bands is None else bands)
        for value in (choosing, judging)
    ]
    return Candidate(Named(name), *scores, seconds=1.0, note=note, is_trained=name == "network")


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([("a", 31.0, 31.0), ("b", 32.0, 30.5)], "b"),  # the region for judging does not rank
        ([("a", 31.0, 31.0), ("b", 32.0, 29.0)], "a"),  # but has a veto
        ([("a", 29.0, 31.0), ("b", 32.0, 30.02)], "bicubic"),
        ([("a", 31.0, 31.0), ("network", 33.0, 30.9)], "a"),  # a network must not lose to a simpler method
        ([("a", 31.0, 31.0), ("network", 33.0, 31.0)], "network"),
        ([("a", 29.0, 33.0), ("network", 33.0, 31.0)], "network"),
        ([], "bicubic"),
    ],
)
def test_the_best_that_beats_interpolation_in_both_regions_is_chosen(others, chosen):
    assert choose([candidate("bicubic", 30.0, 30.0), *(candidate(*other) for other in others)]).name == chosen


def test_a_remark_does_not_make_a_candidate_a_network():
    others = [candidate("a", 31.0, 31.0), candidate("b", 32.0, 30.5, note="of the 4 nearest pixels")]
    assert choose([candidate("bicubic", 30.0, 30.0), *others]).name == "b"


@pytest.fixture
def problem(make_reduced):
    reduced = make_reduced()
    return reduced, plan_regions(reduced.interpolation_error(), reduced.valid, scale=2)


def test_a_network_is_trained_beside_the_others(tiny, problem):
    told = []
    found = compare(*problem, clock=Clock(30), wavelength_nm=None, tell=told.append)
    assert [entry.name for entry in found.candidates] == ["bicubic", "back-projection", "group-residual"]
    assert [entry.is_trained for entry in found.candidates] == [False, False, True]
    assert found.candidates[2].note.startswith("6 steps, best at step")
    assert found.chosen.name != "bicubic"
    assert found.gain_db > 0.5
    assert [line.split(":")[0] for line in told] == ["bicubic", "back-projection", "group-residual"]
    assert told[1].endswith("s left")


def test_without_time_the_network_is_skipped_with_a_reason(problem):
    found = compare(*problem, clock=Clock(0.01), wavelength_nm=None, tell=lambda line: None)
    assert "group-residual" in found.skipped
    assert found.candidates[0].name == "bicubic"


def test_values_without_data_change_neither_training_nor_scores(tiny, make_scene, make_reduced):
    values, valid = make_scene(), np.ones((48, 64), bool)
    valid[18:24, 26:30] = False

    def run(under):
        reduced = make_reduced(np.where(valid, values, np.float32(under)), valid)
        regions = plan_regions(reduced.interpolation_error(), valid & reduced.valid, scale=2)
        network, _ = fit_network("group-residual", reduced, regions, seconds=30, wavelength_nm=None)
        return regions, network.state_dict()

    (regions, weights), (others, again) = run(0.3), run(1.7)
    assert regions == others
    assert all(np.array_equal(weights[name], again[name]) for name in weights)


def test_a_scene_too_small_for_a_network_has_the_others(make_scene, make_reduced):
    reduced = make_reduced(make_scene(height=16, width=16))
    regions = plan_regions(reduced.interpolation_error(), reduced.valid, scale=2)
    found = compare(reduced, regions, clock=Clock(30), wavelength_nm=None, tell=lambda line: None)
    assert found.skipped == {"group-residual": "too few pixels to train it"}


def test_of_a_pair_the_fusion_methods_are_compared(make_scene, monkeypatch):
    monkeypatch.setattr("hsipipe.sharpen.compare.PAIR", ("sfim", "gsa"))
    psf, truth = Psf("gaussian", mtf=0.3), make_scene(bands=8, height=64, width=96)
    msi = np.stack([truth[:4].mean(axis=0), truth[4:].mean(axis=0)])
    scene, everywhere = psf.downsample(truth, 2), np.ones(truth.shape[1:], bool)
    reduced = reduce_scene(scene, everywhere[::2, ::2], scale=2, psf=psf, msi=(msi, everywhere))
    regions = plan_regions(reduced.interpolation_error(), reduced.valid, scale=2)
    found = compare(reduced, regions, clock=Clock(0.5), wavelength_nm=None, tell=lambda line: None)
    assert {"bicubic", "sfim", "gsa"} == {entry.name for entry in found.candidates} - {"fusion-fast-regression"}
    assert found.gain_db > 2


def report(found, nm=None):
    class Scene:
        wavelength_nm = nm

    class Reduced:
        scale = 2

    return Report(Scene, Reduced, None, found)


def test_the_sentence_names_gain_and_groups_that_do_not_gain():
    nm = np.array([450.0, 1600.0])
    entries = [candidate("bicubic", 30, 30, np.array([30.0, 30.0])), candidate("a", 32, 31.5, np.array([33.0, 30.0]))]
    text = report(Comparison(entries, entries[1], {}), nm).sentence()
    assert text == (
        "The result (a) is about 1.5 dB MPSNR better than bicubic interpolation, except in SWIR, where it is not "
        "better; this was measured on a held-out part of the scene at 2 times larger pixels, so at full resolution it "
        "is an estimate."
    )


def test_the_sentence_says_that_nothing_is_better():
    entries = [candidate("bicubic", 30, 30), candidate("a", 29, 29)]
    found = report(Comparison(entries, entries[0], {}))
    assert not found.is_better
    assert found.sentence().startswith("No candidate beats bicubic interpolation on this scene at reduced resolution")


@pytest.mark.parametrize("judged", [31.25, 41.25, 18.0])
def test_the_table_fits_a_terminal_of_80_columns(judged):
    nm = np.array([450.0, 550.0, 650.0, 850.0, 1600.0])
    scores = [("bicubic", 30.0), ("fusion-fast-regression", judged)]
    entries = [candidate(name, value, value, np.full(5, value)) for name, value in scores]
    console = Console(width=80, file=io.StringIO())
    console.print(report(Comparison(entries, entries[0], {}), nm).table())
    names, units, *rows = (line.split() for line in console.file.getvalue().splitlines())
    assert names == ["held-out", "MPSNR", "SAM", "gain", "blue", "green", "red", "NIR", "SWIR"]
    assert units == ["region", "dB", "deg", "ERGAS", "dB", "dB", "dB", "dB", "dB", "dB", "s"]
    gain = judged - 30
    assert rows[1] == [
        "fusion-fast-regression",
        f"{judged:.2f}",
        "1.00",
        "2.00",
        f"{gain:+.2f}",
        *[f"{gain:+.1f}"] * 5,
        "1",
    ]


def test_groups_of_bands():
    groups = band_groups(np.array([450.0, 500.0, 650.0, 700.0, 999.0, 1000.0, 2400.0]))
    found = {name: bands.tolist() for name, bands in groups.items()}
    assert found == {"blue": [0], "green": [1], "red": [2], "NIR": [3, 4], "SWIR": [5, 6]}
    assert band_groups(None) == {}


@pytest.mark.parametrize("error", [DataError("too dark"), LinAlgError("SVD did not converge")])
def test_a_candidate_that_fails_is_skipped_with_its_reason(problem, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("hsipipe.methods.back_projection.BackProjection.predict", fails)
    monkeypatch.setattr("hsipipe.sharpen.compare.fit_network", fails)
    found = compare(*problem, clock=Clock(30), wavelength_nm=None, tell=lambda line: None)
    assert found.chosen.name == "bicubic"
    assert found.skipped == {"back-projection": str(error), "group-residual": str(error)}


def test_a_candidate_that_is_not_admitted_is_skipped(problem):
    def admit(name, model):
        raise DataError(f"{name} needs more memory")

    found = compare(*problem, clock=Clock(30), wavelength_nm=None, tell=lambda line: None, admit=admit)
    assert set(found.skipped) == {"back-projection", "group-residual"}


def test_a_band_that_is_zero_in_a_region_is_in_no_score_of_it(make_scene, make_reduced):
    values = make_scene()
    values[1, :, :40] = 0
    reduced, box = make_reduced(values), Box(0, 48, 0, 32)
    assert unscored_bands(reduced, box).tolist() == [1]
    score = score_box(reduced.predict(candidates.untrained("bicubic", scale=2, psf=reduced.psf)), reduced, box)
    assert np.isfinite(list(score.metrics.values())).all()
    assert np.flatnonzero(np.isnan(score.band_psnr_db)).tolist() == [1]
    assert set(gains_by_group(score, score, np.linspace(400, 900, 6))) == {"blue", "red", "NIR"}


def test_interpolation_in_tiles_is_that_of_the_whole():
    lr = np.random.default_rng(0).random((2, 150, 70), dtype=np.float32)
    tiled = predict_scene(candidates.untrained("bicubic", scale=2, psf=None), lr, tile=64, overlap=8)
    np.testing.assert_allclose(tiled, Bicubic(2).predict(lr[None])[0], atol=1e-6)
