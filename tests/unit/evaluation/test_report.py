import re
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image
from scipy.ndimage import uniform_filter

from hsipipe.artifacts import DegradedPairs, Pair, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.bicubic import downsample
from hsipipe.degradation.pairs import make_pairs
from hsipipe.errors import FileFormatError, MissingInputError
from hsipipe.evaluation import report
from hsipipe.evaluation.calibration import UNCERTAINTY_DEFINITIONS
from hsipipe.evaluation.comparison import RowScores, compare_scores
from hsipipe.evaluation.ensemble import Ensemble
from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.figure_rows import OTHER, choose_rows, colours
from hsipipe.evaluation.figures import (
    band_psnr,
    error_maps,
    gain_bars,
    image_strip,
    method_dots,
    save,
    spectra,
    training_curves,
)
from hsipipe.evaluation.report import choose_scenes
from hsipipe.methods.base import Trainable
from hsipipe.methods.bicubic import Bicubic
from hsipipe.protocols import make_protocol
from hsipipe.protocols.metrics import METRIC


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    return folder


@pytest.fixture
def write_report(pairs):
    """The function, with the pairs of these tests."""
    return partial(report.write_report, pairs=pairs)


@pytest.fixture
def one_scene(monkeypatch):
    """The first test scene alone is shown in detail."""
    monkeypatch.setattr("hsipipe.evaluation.report.choose_scenes", lambda metrics, names, *limit: names[:1])


def test_the_page_holds_everything_and_needs_nothing(write_report, folders, metrics, out, tmp_path, names):
    curve = tmp_path / "dmgasr.csv"
    curve.write_text("step,loss,val_mpsnr_db\n1,0.5,\n2,0.25,30.5\n")
    summary = write_report(folders, metrics, out, curves={"autoencoder standard": curve})
    page = (out / "index.html").read_text()
    figures = sorted(path.name for path in (out / "figures").iterdir())
    assert "autoencoder standard" in page
    assert figures == sorted(
        ["gain.png", "band-psnr.png", "methods.png", "curve-autoencoder standard.png"]
        + [f"{scene}-{kind}.png" for scene in names for kind in ("images", "errors", "power", "spectra")]
    )
    assert summary["figures"] == len(figures) == page.count('src="data:image/png;base64,') - 3 * len(names)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert not re.search("https?:", page)
    assert "They skip" not in page
    for verdict in metrics["verdicts"]:
        assert verdict.replace("'", "&#39;") in page
    for text in (
        metrics["protocol"]["hash"],
        "ae-ceiling",
        "synthetic",
        "split.guard",
        metrics["test_set"][0]["sha256"],
    ):
        assert text in page
    assert f"{metrics['models']['dmgasr']['mpsnr_db']:.2f}" in page
    assert f"{metrics['scenes'][names[1]]['dmgasr-regression']['rmse']:.4f}" in page


def test_figures_are_pictures_of_a_sensible_size(write_report, folders, metrics, out, one_scene):
    write_report(folders, metrics, out)
    for path in (out / "figures").iterdir():
        with Image.open(path) as picture:
            assert 400 < picture.width <= 1300
            assert np.asarray(picture.convert("L")).std() > 5


def test_the_same_numbers_give_the_same_page(write_report, folders, metrics, out, tmp_path, one_scene):
    write_report(folders, metrics, out)
    (tmp_path / "again").mkdir()
    write_report(folders, metrics, tmp_path / "again")
    assert (tmp_path / "again" / "index.html").read_bytes() == (out / "index.html").read_bytes()


def test_the_spread_of_samples_stands_with_the_error(write_report, all_scores, scored, net, out, names):
    rows = {"bicubic": all_scores["bicubic"], "dmgasr": scored(net(varied=True))}
    metrics = compare_scores([RowScores(name, [tree]) for name, (_, tree) in rows.items()])
    summary = write_report({name: folder for name, (folder, _) in rows.items()}, metrics, out)
    page = (out / "index.html").read_text()
    figures = {path.name for path in (out / "figures").iterdir()}
    of_scenes = {f"{name}-{kind}-dmgasr.png" for name in names for kind in ("spread", "samples")}
    assert {"calibration-dmgasr.png", "reliability-dmgasr.png", *of_scenes} <= figures
    assert summary["figures"] == len(figures) == page.count('src="data:image/png;base64,') - 3 * len(names)
    for text in (*UNCERTAINTY_DEFINITIONS.values(), f"{metrics['uncertainty']['dmgasr']['spread_ratio']:.3g}"):
        assert text in page


def test_without_samples_the_report_says_nothing_of_uncertainty(write_report, folders, metrics, out):
    write_report(folders, metrics, out)
    assert "Uncertainty" not in (out / "index.html").read_text()


def test_a_metric_of_fusion_is_defined_where_it_occurs(
    write_report, all_scores, folders, metrics, scored, net, out, one_scene, tmp_path
):
    definition = METRIC["msi_consistency_psnr_db"].definition
    write_report(folders, metrics, out)
    without = (out / "index.html").read_text()
    rows = {"bicubic": all_scores["bicubic"], "fused": scored(net(fuses=True), "fused")}
    both = compare_scores([RowScores(name, [tree]) for name, (_, tree) in rows.items()])
    (again := tmp_path / "again").mkdir()
    write_report({name: folder for name, (folder, _) in rows.items()}, both, again)
    page = (again / "index.html").read_text()
    assert (definition in without, definition in page) == (False, True)
    assert f"{both['models']['fused']['msi_consistency_psnr_db']:.2f}" in page
    assert all(METRIC[key].definition in page for key in ("d_lambda", "d_s", "qnr"))


def test_error_maps_share_one_colour_scale(folders, names):
    scene = SceneEvidence.together([SceneEvidence.load(folder / f"{names[0]}.npz") for folder in folders.values()])
    figure = error_maps(scene, {"bicubic": 0, "pca-residual": 1, "dmgasr": 2}, {})
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


def test_names_are_escaped(write_report, folders, metrics, out, monkeypatch):
    monkeypatch.setattr("hsipipe.evaluation.figures.save", lambda figure, path: path.write_bytes(b""))
    metrics["protocol"] = metrics["protocol"] | {"name": "<script>alert()"}
    write_report(folders, metrics, out)
    assert "<script>alert" not in (out / "index.html").read_text()


def test_many_scenes_are_sampled_from_the_smallest_gain_to_the_largest():
    def scene(gain):
        return {"bicubic": {"mpsnr_db": 30.0}, "dmgasr": {"mpsnr_db": 30.0 + gain}}

    names = [f"s{number:02}" for number in range(30)]
    gains = dict(zip(names, np.random.default_rng(0).permutation(30), strict=True))
    metrics = {
        "models": {"bicubic": {"kind": "method", "mpsnr_db": 30.0}, "dmgasr": {"kind": "method", "mpsnr_db": 31.0}},
        "scenes": {name: scene(float(gain)) for name, gain in gains.items()},
    }
    chosen = choose_scenes(metrics, names)
    assert [gains[name] for name in chosen] == [0, 6, 12, 17, 23, 29]
    assert choose_scenes(metrics, names[:3]) == names[:3]


def test_many_scenes_are_said_to_be_a_choice(write_report, folders, metrics, out, monkeypatch, one_scene):
    monkeypatch.setattr("hsipipe.evaluation.figures.save", lambda figure, path: path.write_bytes(b""))
    write_report(folders, metrics, out)
    assert "1 of 2 scenes, chosen in even steps" in (out / "index.html").read_text()


def test_missing_or_damaged_scores_name_what_to_run(write_report, folders, metrics, out, names, tmp_path):
    with pytest.raises(MissingInputError, match="run the stage evaluate"):
        write_report(folders | {"dmgasr": tmp_path}, metrics, out)
    (tmp_path / f"{names[0]}.npz").write_bytes(b"PK nonsense")
    (tmp_path / "again").mkdir()
    with pytest.raises(FileFormatError, match="no scene evidence"):
        write_report(folders | {"dmgasr": tmp_path}, metrics, tmp_path / "again")


def test_of_many_rows_the_first_and_the_best_are_pictured():
    rows = {f"m{number}": {"kind": "method", "mpsnr_db": value} for number, value in enumerate([30, 35, None, 33, 34])}
    tree = {"models": {**rows, "ae-ceiling": {"kind": "ceiling", "mpsnr_db": 99}}}
    assert choose_rows(tree, 3) == ["m0", "m1", "m4"]
    assert choose_rows(tree) == list(rows)


def test_the_page_names_the_rows_that_its_figures_skip(write_report, folders, metrics, out, names):
    for number in range(4):
        name = f"worse-{number}"
        metrics["models"][name] = {**metrics["models"]["bicubic"], "mpsnr_db": 1.0 + number}
        for scene in metrics["scenes"].values():
            scene[name] = {**scene["bicubic"], "mpsnr_db": 1.0 + number}
    write_report(folders | dict.fromkeys((f"worse-{n}" for n in range(4)), folders["bicubic"]), metrics, out)
    assert "They skip worse-0." in (out / "index.html").read_text()


def test_a_method_has_one_colour_in_all_figures_and_a_skipped_one_is_grey(metrics):
    row = metrics["models"]["bicubic"]
    for number in range(6):
        metrics["models"][f"worse-{number}"] = {**row, "mpsnr_db": 1.0 + number}
    tints = colours(choose_rows(metrics))
    assert len(set(tints.values())) == len(tints) == 7
    left, _ = method_dots(metrics).axes
    drawn = [to_hex(container.lines[0].get_color()) for container in left.containers]
    assert drawn == [tints.get(name, OTHER) for name, row in metrics["models"].items() if row["kind"] != "ceiling"]
    gains = {name: {"scene": 1.0} for name in ("dmgasr", "pca-residual")}
    bars = gain_bars(gains, over="bicubic", tints=tints).axes[0].containers
    assert [to_hex(bar.patches[0].get_facecolor()) for bar in bars] == [tints[name] for name in gains]


def test_every_method_is_a_dot_with_whiskers_over_seeds(metrics):
    metrics["spread"] = {"dmgasr": {"mpsnr_db": 0.2, "sam_deg": None}}
    metrics["models"]["pca-residual"]["mpsnr_db"] = None
    left, right = method_dots(metrics).axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "bicubic",
        "pca-residual",
        "dmgasr",
        "dmgasr-regression",
    ]
    assert (len(left.containers), len(right.containers)) == (3, 4)
    assert [container.has_xerr for container in left.containers] == [False, True, False]


@pytest.mark.parametrize("text", ["", "step\n1\n", "step,loss\n1,\n", "step,loss\n"])
def test_curves_without_values_are_left_out(tmp_path, text):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    assert training_curves(path) is None


@pytest.mark.parametrize(("dead", "units"), [(0, ["loss", "dB"]), (2, ["loss", "layers", "dB"])])
def test_each_unit_has_a_panel_and_dead_layers_only_if_there_are_any(tmp_path, dead, units):
    path = tmp_path / "curve.csv"
    path.write_text(f"step,val_mpsnr_db,dead_layers,loss\n0,30,0,\n50,31,{dead},0.2\n")
    assert [axis.get_ylabel() for axis in training_curves(path).axes] == units


def test_curves_that_are_no_numbers_are_refused(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,loss\n1,low\n")
    with pytest.raises(FileFormatError, match="no table of numbers"):
        training_curves(path)


@pytest.mark.parametrize("size", [(160, 16), (16, 160), (8, 8)])
def test_odd_extents_make_figures_without_a_warning(size, pair, methods, tmp_path):
    hr = np.resize(pair.hr, (13, *size))
    odd = Pair("odd", hr, downsample(hr, 4), hr[:3], np.full(13, np.nan))
    predictions = [method.predict(odd.lr[None])[0] for method in methods.values()]
    scene = SceneEvidence.together([SceneEvidence.of(odd, sr, Ensemble.point(sr)) for sr in predictions])
    shown = {"bicubic": 0, "pca-residual": 1, "dmgasr": 2}
    kinds = ("bright", "median", "dark", "textured")
    for name, figure in {
        "images": image_strip(scene, shown, {}),
        "errors": error_maps(scene, shown, {}),
        "spectra": spectra(scene, shown, kinds),
    }.items():
        save(figure, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert max(picture.size) <= 1600


def test_a_row_without_finite_gain_does_not_stop_the_report(write_report, folders, metrics, out, names, one_scene):
    metrics["scenes"][names[0]]["dmgasr"]["mpsnr_db"] = None
    metrics["models"]["dmgasr"]["mpsnr_db"] = None
    write_report(folders, metrics, out)
    assert "cannot be compared" in (out / "index.html").read_text()


@dataclass(frozen=True)
class Smooth(Bicubic, Trainable):
    """A mean over three bands."""

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        return uniform_filter(lr, (0, 3, 1, 1))

    def loss(self, network, batch, draws):
        raise NotImplementedError


def test_a_report_on_denoising(write_report, frame, make_params, scored, tmp_path, out, one_scene):
    noisy = {"task": "denoise", "scale": 1, "psf": {"kind": "none"}, "snr_db": {"lr": 5.0}}
    groups = frame | {"degradation": make_params("degradation", **noisy)}
    raw, pairs = RawScenes(tmp_path / "raw"), DegradedPairs(tmp_path / "pairs")
    for path in (raw.path, pairs.path):
        path.mkdir()
    prepare_scenes(groups["dataset"], raw.path)
    make_pairs(raw, pairs.path, split=groups["split"], degradation=groups["degradation"])
    index = pairs.index()
    protocol = make_protocol("default", plan=index["splits"], srf=index["srf"], **groups)
    methods = {"bicubic": Bicubic(1), "dmgasr": Smooth(1)}
    rows = {name: scored(method, name, of=pairs, frame=protocol) for name, method in methods.items()}
    metrics = compare_scores([RowScores(name, [tree]) for name, (_, tree) in rows.items()])
    assert metrics["gain_db"]["dmgasr"] > 1
    assert {row["consistency_psnr_db"] for row in metrics["models"].values()} == {None}
    assert "above bicubic" in metrics["verdicts"][0]
    write_report({name: folder for name, (folder, _) in rows.items()}, metrics, out)
    page = (out / "index.html").read_text()
    assert "<title>Denoising report" in page
    assert "MPSNR gain over bicubic" in page
    assert "at scale 1 the input itself" in page
    assert "not defined: noise alone degrades the input" in page
