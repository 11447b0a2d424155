import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import uniform_filter

from hsipipe.artifacts import DegradedPairs, Evaluation, Pair, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.bicubic import downsample
from hsipipe.degradation.pairs import make_pairs
from hsipipe.errors import DataError, FileFormatError, MissingInputError
from hsipipe.evaluation.calibration import UNCERTAINTY_DEFINITIONS
from hsipipe.evaluation.evaluate import evaluate
from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.figures import band_psnr, error_maps, image_strip, save, spectra, training_curves
from hsipipe.evaluation.report import choose_scenes, write_report
from hsipipe.evaluation.rows import Row, apply, baseline_row
from hsipipe.protocols import make_protocol
from hsipipe.protocols.metrics import METRIC


@pytest.fixture
def evaluation(pairs, rows, protocol, tmp_path):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    return Evaluation(folder), evaluate(pairs, rows, folder, protocol=protocol)


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    return folder


@pytest.fixture
def one_scene(monkeypatch):
    """The first test scene alone is shown in detail."""
    monkeypatch.setattr("hsipipe.evaluation.report.choose_scenes", lambda metrics, names: names[:1])


def test_the_page_holds_everything_and_needs_nothing(evaluation, out, tmp_path, names):
    curve = tmp_path / "train_gae.csv"
    curve.write_text("step,loss,val_mpsnr_db\n1,0.5,\n2,0.25,30.5\n")
    summary = write_report(*evaluation, out, curves=[curve])
    page = (out / "index.html").read_text()
    metrics = evaluation[1]
    figures = sorted(path.name for path in (out / "figures").iterdir())
    assert "train gae" in page
    assert figures == sorted(
        ["gain.png", "band-psnr.png", "curve-train_gae.png"]
        + [f"{scene}-{kind}.png" for scene in names for kind in ("images", "errors", "spectra")]
    )
    assert summary["figures"] == len(figures) == page.count('src="data:image/png;base64,')
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in page
    for verdict in metrics["verdicts"]:
        assert verdict.replace("'", "&#39;") in page
    for text in (
        metrics["protocol"]["hash"],
        "ae-ceiling",
        "Data set synthetic at scale 4",
        "split.guard",
        metrics["test_set"][0]["sha256"],
    ):
        assert text in page
    assert f"{metrics['models']['dmgasr']['mpsnr_db']:.2f}" in page
    assert f"{metrics['scenes'][names[1]]['regression']['rmse']:.4f}" in page


def test_figures_are_pictures_of_a_sensible_size(evaluation, out, one_scene):
    write_report(*evaluation, out)
    for path in (out / "figures").iterdir():
        with Image.open(path) as picture:
            assert 400 < picture.width <= 1300
            assert np.asarray(picture.convert("L")).std() > 5


def test_the_same_numbers_give_the_same_page(evaluation, out, tmp_path, one_scene):
    write_report(*evaluation, out)
    (tmp_path / "again").mkdir()
    write_report(*evaluation, tmp_path / "again")
    assert (tmp_path / "again" / "index.html").read_bytes() == (out / "index.html").read_bytes()


def test_the_spread_of_samples_stands_beside_the_error(pairs, sampled_rows, protocol, tmp_path, out, names):
    (tmp_path / "evaluation").mkdir()
    metrics = evaluate(pairs, sampled_rows, tmp_path / "evaluation", protocol=protocol)
    summary = write_report(Evaluation(tmp_path / "evaluation"), metrics, out)
    page = (out / "index.html").read_text()
    figures = {path.name for path in (out / "figures").iterdir()}
    assert {"calibration-dmgasr.png", *(f"{name}-spread-dmgasr.png" for name in names)} <= figures
    assert summary["figures"] == len(figures) == page.count('src="data:image/png;base64,')
    for text in (*UNCERTAINTY_DEFINITIONS.values(), f"{metrics['uncertainty']['dmgasr']['spread_ratio']:.3g}"):
        assert text in page


def test_without_samples_the_report_says_nothing_of_uncertainty(evaluation, out):
    write_report(*evaluation, out)
    assert "Uncertainty" not in (out / "index.html").read_text()


def test_a_metric_of_fusion_is_defined_where_it_occurs(pairs, rows, protocol, tmp_path, out, one_scene, evaluation):
    definition = METRIC["msi_consistency_psnr_db"].definition
    write_report(*evaluation, out)
    without = (out / "index.html").read_text()
    folders = [tmp_path / name for name in ("fused", "fused-report")]
    for folder in folders:
        folder.mkdir()
    metrics = evaluate(pairs, rows, folders[0], protocol=protocol, response=pairs.response(), of_pair=True)
    write_report(Evaluation(folders[0]), metrics, folders[1])
    page = (folders[1] / "index.html").read_text()
    assert (definition in without, definition in page) == (False, True)
    assert f"{metrics['models']['dmgasr']['msi_consistency_psnr_db']:.2f}" in page
    assert all(METRIC[key].definition in page for key in ("d_lambda", "d_s", "qnr"))


def test_error_maps_share_one_colour_scale(evaluation, names):
    scene = SceneEvidence.load(evaluation[0].path / f"{names[0]}.npz")
    figure = error_maps(scene, {"bicubic": 0, "regression": 1, "dmgasr": 2}, {})
    limits = {axis.images[0].get_clim() for axis in figure.axes if axis.images}
    assert len([axis for axis in figure.axes if axis.images]) == 3
    assert len(limits) == 1


@pytest.mark.parametrize(
    ("wavelength_nm", "label", "first"),
    [(np.full(3, np.nan), "band", 1), (np.arange(400.0, 430, 10), "wavelength (nm)", 400)],
)
def test_bands_without_wavelengths_are_counted_from_one(wavelength_nm, label, first):
    (axis,) = band_psnr(np.full((1, 3), 30.0), wavelength_nm, {"bicubic": 0}).axes
    assert axis.get_xlabel() == label
    assert axis.lines[0].get_xdata()[0] == first


def test_names_are_escaped(evaluation, out, monkeypatch):
    monkeypatch.setattr("hsipipe.evaluation.figures.save", lambda figure, path: path.write_bytes(b""))
    folder, metrics = evaluation
    metrics["protocol"]["name"] = "<script>"
    write_report(folder, metrics, out)
    assert "<script>" not in (out / "index.html").read_text()


def test_many_scenes_are_sampled_from_the_smallest_gain_to_the_largest():
    def scene(gain):
        return {"bicubic": {"mpsnr_db": 30.0}, "dmgasr": {"mpsnr_db": 30.0 + gain}}

    names = [f"s{number:02}" for number in range(30)]
    gains = dict(zip(names, np.random.default_rng(0).permutation(30), strict=True))
    metrics = {
        "models": {"bicubic": {"kind": "baseline"}, "dmgasr": {"kind": "model"}},
        "scenes": {name: scene(float(gain)) for name, gain in gains.items()},
    }
    chosen = choose_scenes(metrics, names)
    assert [gains[name] for name in chosen] == [0, 6, 12, 17, 23, 29]
    assert choose_scenes(metrics, names[:3]) == names[:3]


def test_many_scenes_are_said_to_be_a_choice(evaluation, out, monkeypatch, one_scene):
    monkeypatch.setattr("hsipipe.evaluation.figures.save", lambda figure, path: path.write_bytes(b""))
    write_report(*evaluation, out)
    assert "1 of 2 scenes, chosen in even steps" in (out / "index.html").read_text()


def test_numbers_of_another_evaluation_are_refused(evaluation, out, names):
    folder, metrics = evaluation
    metrics["scenes"]["another"] = metrics["scenes"].pop(names[0])
    with pytest.raises(DataError, match="different evaluations; run the stage evaluate"):
        write_report(folder, metrics, out)


def test_numbers_of_another_protocol_are_refused(evaluation, out, protocol):
    folder, metrics = evaluation
    metrics["protocol"] = replace(protocol, scale=2).as_json()
    with pytest.raises(DataError, match=r"different protocols .*scale: 4 against 2"):
        write_report(folder, metrics, out)


def test_a_missing_or_damaged_evaluation_says_what_to_run(evaluation, out, names, tmp_path):
    folder, metrics = evaluation
    with pytest.raises(MissingInputError, match="run the stage evaluate"):
        write_report(Evaluation(tmp_path), metrics, out)
    (folder.path / f"{names[0]}.npz").write_bytes(b"PK nonsense")
    with pytest.raises(FileFormatError, match="no scene evidence"):
        write_report(folder, metrics, out)


@pytest.mark.parametrize("text", ["", "step\n1\n", "step,loss\n1,\n", "step,loss\n"])
def test_curves_without_values_are_left_out(tmp_path, text):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    assert training_curves(path) is None


def test_curves_that_are_no_numbers_are_refused(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,loss\n1,low\n")
    with pytest.raises(FileFormatError, match="no table of numbers"):
        training_curves(path)


@pytest.mark.parametrize("size", [(160, 16), (16, 160), (8, 8)])
def test_odd_extents_make_figures_without_a_warning(size, pair, rows, tmp_path):
    hr = np.resize(pair.hr, (13, *size))
    odd = Pair("odd", hr, downsample(hr, 4), hr[:3], np.full(13, np.nan))
    scene = SceneEvidence.of(odd, [apply(row, odd) for row in rows if row.kind != "ceiling"])
    shown = {"bicubic": 0, "regression": 1, "dmgasr": 2}
    kinds = ("bright", "median", "dark", "textured")
    for name, figure in {
        "images": image_strip(scene, shown, {}),
        "errors": error_maps(scene, shown, {}),
        "spectra": spectra(scene, shown, kinds),
    }.items():
        save(figure, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert max(picture.size) <= 1600


def test_a_row_without_finite_gain_does_not_stop_the_report(evaluation, out, names, one_scene):
    folder, metrics = evaluation
    metrics["scenes"][names[0]]["dmgasr"]["mpsnr_db"] = None
    metrics["models"]["dmgasr"]["mpsnr_db"] = None
    write_report(folder, metrics, out)
    assert "cannot be compared" in (out / "index.html").read_text()


def test_a_report_on_denoising_calls_the_baseline_the_input(frame, make_params, tmp_path, out, one_scene):
    noisy = {"task": "denoise", "scale": 1, "psf": {"kind": "none"}, "snr_db": {"lr": 5.0}}
    groups = frame | {"degradation": make_params("degradation", **noisy)}
    raw, pairs, folder = RawScenes(tmp_path / "raw"), DegradedPairs(tmp_path / "pairs"), tmp_path / "evaluation"
    for path in (raw.path, pairs.path, folder):
        path.mkdir()
    prepare_scenes(groups["dataset"], raw.path)
    make_pairs(raw, pairs.path, split=groups["split"], degradation=groups["degradation"])
    index = pairs.index()
    protocol = make_protocol("default", plan=index["splits"], srf=index["srf"], **groups)
    model = Row("dmgasr", "model", lambda seen: uniform_filter(seen.lr, (3, 1, 1)), 4)
    metrics = evaluate(pairs, [baseline_row(1), model], folder, protocol=protocol)
    assert set(metrics["models"]) == {"input", "dmgasr"}
    assert metrics["gain_db"]["dmgasr"] > 1
    assert {row["consistency_psnr_db"] for row in metrics["models"].values()} == {None}
    assert "above the input" in metrics["verdicts"][0]
    write_report(Evaluation(folder), metrics, out)
    page = (out / "index.html").read_text()
    assert "<h1>Hyperspectral denoising: what was reached</h1>" in page
    assert "MPSNR gain over input" in page
    assert "not defined: noise alone degrades the input" in page
    assert "bicubic" not in page
