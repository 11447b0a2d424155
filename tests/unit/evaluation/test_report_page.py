"""The report in a real browser: it answers first, its viewers run, it fits narrow screens and works without scripts."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from embedded_scenes import layer, map_of, scenes

from hsipipe.artifacts.registration import Registration
from hsipipe.evaluation.comparison import RowScores, compare_scores
from hsipipe.evaluation.report import Provenance, _fitting, write_report
from hsipipe.evaluation.viewers import make_viewer

RUN = "http://127.0.0.1:5000/#/experiments/1/runs/89ab"
ENTRY = Registration("hsipipe-synthetic-x4", "pca-residual", 3, "challenger")


@pytest.fixture(scope="module")
def report(all_scores, scored, net, pairs, tmp_path_factory):
    """The page of three rows, one of them with samples, and the numbers in it."""
    rows = {name: all_scores[name] for name in ("bicubic", "pca-residual")}
    rows["dmgasr"] = scored(net(varied=True))
    metrics = compare_scores([RowScores(name, [tree]) for name, (_, tree) in rows.items()])
    out = tmp_path_factory.mktemp("report")
    folders = {name: folder for name, (folder, _) in rows.items()}
    where = {"run_url": RUN, "run_command": "mlflow ui --backend-store-uri sqlite:///mlflow.db"}
    source = Provenance("c0ffee", registration=ENTRY, run_id="0123abcd", date="2026-11-30T22:10:05Z", **where)
    write_report(folders, metrics, out, pairs=pairs, provenance=replace(source, seconds=318.4))
    return out / "index.html", metrics


@pytest.fixture
def page(open_page, report):
    return open_page(report[0])


def test_the_answer_comes_first(page, report):
    metrics = report[1]
    answer = page.locator("main > section").first.inner_text()
    gain = metrics["models"]["dmgasr"]["mpsnr_db"] - metrics["models"]["bicubic"]["mpsnr_db"]
    assert "dmgasr has the highest MPSNR" in answer
    assert f"{gain:.2f} dB above bicubic, the best row without training" in answer
    assert "2 test scenes" in answer
    assert "pca-residual, which predicts the validation scenes best" in answer
    assert "hsipipe-synthetic-x4, version 3, alias challenger" in answer
    assert "models:/hsipipe-synthetic-x4@champion" in answer
    for text in ("c0ffee", "0123abcd", metrics["protocol"]["hash"], "--model models/superresolver"):
        assert text in answer
    assert "2026-11-30T22:10:05Z, 5 min 18 s after the pipeline started" in answer
    assert "run of the pipeline, after mlflow ui --backend-store-uri sqlite:///mlflow.db" in answer
    assert page.get_by_role("link", name="run of the pipeline").get_attribute("href") == RUN
    order = page.locator("h2").all_inner_texts()
    assert order[:5] == ["Use the model", "Test scenes at a glance", "Results", "Verdicts", "Explore the scenes"]


def test_the_best_of_each_column_is_marked_in_text(page, report):
    table = page.locator("table.results").first
    marked = table.locator("tbody tr.best td").first.inner_text()
    assert marked == f"{report[1]['models']['dmgasr']['mpsnr_db']:.2f} *"
    assert "* and bold: best of its column" in page.content()


def test_each_scene_has_a_viewer_that_shows_spectra_and_maps(page, names):
    for number, name in enumerate(names):
        section = page.locator("section.card", has=page.locator(f"h3:text-is('{name}')"))
        section.locator(".viewer").scroll_into_view_if_needed()
        section.locator(".viewer[data-state=ready]").wait_for()
        assert section.locator("details[open]").count() == 0
        cubes = section.locator(".values tbody th").all_inner_texts()
        assert [text.strip() for text in cubes] == ["LR input", "bicubic", "pca-residual", "dmgasr", "truth"]
        assert section.locator(".plot path").count() == len(cubes)
        right = section.get_by_label("Right", exact=True)
        assert right.evaluate("e => e.selectedOptions[0].textContent") == "dmgasr"
        for kind, text in (("gain", "blue is better"), ("sam", "spectral angle"), ("width", "90 % interval")):
            right.select_option(f"{kind} 3")
            assert text in section.locator(".scales").inner_text()
        section.get_by_label("Band:").fill(str(number))
        stage = section.locator(".stage")
        stage.click(position={"x": 5, "y": 5})
        assert "Pixel in row 0, column 0; value in band" in section.locator("caption", has_text="Pixel").inner_text()


def test_the_data_are_those_of_the_scene(report, pairs, all_scores, names):
    tree = next(iter(scenes(report[0].read_text(encoding="utf-8")).values()))
    pair = pairs.read("test", names[0])
    entry, cube = layer(tree, "truth")
    assert np.abs(cube - pair.hr).max() <= entry["error"][1] + 1e-6 < 5e-3
    _, low = layer(tree, "LR input")
    assert low.shape == pair.lr.shape
    _, cube = layer(tree, "pca-residual")
    error = np.abs(cube - pair.hr).mean(axis=0)
    assert np.abs(map_of(tree, "error", "pca-residual") - error).max() < 5e-3
    mean = np.nanmean(map_of(tree, "sam", "pca-residual"))
    assert mean == pytest.approx(all_scores["pca-residual"][1]["scenes"][names[0]]["pca-residual"]["sam_deg"], rel=0.01)


@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_the_screen_and_can_be_read_aloud(open_page, report, width):
    page = open_page(report[0], width=width)
    page.locator(".viewer").first.scroll_into_view_if_needed()
    page.wait_for_selector(".viewer[data-state=ready]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    levels = [int(name[1]) for name in page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => h.tagName)")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("table:not(:has(caption))").count() == 0


def test_without_scripts_there_are_pictures(open_page, report, names):
    page = open_page(report[0], scripts=False)
    assert page.locator("section.card details[open] img").count() >= 4 * len(names)
    assert "The viewer needs JavaScript" in page.locator(".viewer").first.inner_text()


def test_a_viewer_of_few_bytes_says_what_it_skips(all_scores, folders, metrics, pair):
    for number in range(3):
        name = f"worse-{number}"
        metrics["models"][name] = {**metrics["models"]["bicubic"], "mpsnr_db": 1.0 + number}
        folders[name] = folders["bicubic"]
    whole = make_viewer(pair, folders, metrics, most_bytes=10**7)
    assert whole.reduced == ()
    said = []
    for most in (0.9, 0.7, 0.4, 0.2):
        viewer = make_viewer(pair, folders, metrics, most_bytes=int(most * len(whole.data)))
        assert len(viewer.data) <= most * len(whole.data)
        tree = json.loads(viewer.data)
        assert tree["notes"][:-1] == list(viewer.reduced)
        said.append(" ".join(viewer.reduced))
    assert "twice" in said[0] or "2 times as coarse" in said[0]
    assert "skips worse-0, worse-1, worse-2" in said[2]
    assert "of 48 x 48 pixels" in said[3]
    assert tree["origin"] != [0, 0]
    assert make_viewer(pair, folders, metrics, most_bytes=100) is None


def test_a_page_without_space_has_no_viewer_and_says_so(folders, metrics, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.evaluation.figures.save", lambda figure, path: path.write_bytes(b""))
    summary = write_report(folders, metrics, tmp_path, pairs=pairs, most_bytes=10_000)
    assert summary["viewers"] == 0
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "The viewer of this scene does not fit into the page." in page
    (out := tmp_path / "again").mkdir()
    summary = write_report(folders, metrics, out, pairs=pairs, most_bytes=400_000)
    assert summary["viewers"] == 2
    assert (out / "index.html").stat().st_size <= 400_000


def test_curves_and_calibrations_beyond_the_limit_are_files_alone(
    all_scores, scored, net, pairs, tmp_path, monkeypatch
):
    def save(figure, path):
        path.write_bytes(bytes(30_000))

    monkeypatch.setattr("hsipipe.evaluation.figures.save", save)
    rows = {"bicubic": all_scores["bicubic"], "dmgasr": scored(net(varied=True))}
    metrics = compare_scores([RowScores(name, [tree]) for name, (_, tree) in rows.items()])
    curves = {f"seed-{number}": tmp_path / f"{number}.csv" for number in range(30)}
    for path in curves.values():
        path.write_text("step,val_mpsnr_db\n1,20\n2,21\n", encoding="utf-8")
    folders = {name: folder for name, (folder, _) in rows.items()}
    (out := tmp_path / "out").mkdir()
    summary = write_report(folders, metrics, out, pairs=pairs, curves=curves, most_bytes=1_200_000)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert summary["html_bytes"] == (out / "index.html").stat().st_size <= 1_200_000
    assert summary["viewers"] == 2
    assert page.count("Training curves of seed-") == 4
    assert "The curves of seed-29 do not fit into the page; they are the file <code>figures/curve-seed-29.png" in page
    assert len(list((out / "figures").glob("curve-*.png"))) == 30
    (tight := tmp_path / "tight").mkdir()
    write_report(folders, metrics, tight, pairs=pairs, curves=curves, most_bytes=300_000)
    page = (tight / "index.html").read_text(encoding="utf-8")
    assert "they are the files <code>figures/calibration-dmgasr.png</code> and" in page


def test_thumbnails_beyond_the_limit_cost_scenes(monkeypatch):
    names = [f"scene-{number}" for number in range(6)]
    metrics = {"models": {"a": {"kind": "method", "mpsnr_db": 1.0}}, "scenes": {name: {} for name in names}}
    kept = _fitting({name: [{"src": "x" * 1000}] for name in names}, metrics, 3500)
    assert list(kept) == ["scene-0", "scene-2", "scene-5"]
