"""Table and figure of a sweep, from results that are made up."""

import csv
import json

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console

from hsipipe.errors import DataError
from hsipipe.evaluation.sweep_figure import sweep_figure
from hsipipe.evaluation.sweep_table import (
    EVERY,
    PointResult,
    as_csv,
    as_markdown,
    render_spread,
    render_sweep,
    spread_rows,
    sweep_rows,
    sweep_tree,
)
from hsipipe.sweeps import load_sweep, sweep_names

PROTOCOL = {"name": "default", "hash": "0123456789abcdef", "fields": [["scale", 4]]}


def row(kind, mpsnr, *, sam=3.0, seconds=0.2, nfe=1):
    return {
        "kind": kind,
        "mpsnr_db": mpsnr,
        "cube_psnr_db": mpsnr,
        "mssim": 0.9,
        "sam_deg": sam,
        "ergas": 4.0,
        "cc": 0.9,
        "rmse": 0.01,
        "consistency_psnr_db": 48.0,
        "seconds_per_image": seconds,
        "nfe": nfe,
    }


def result(label, settings, *, model=30.0, regression=30.5, ae=45.0, control=31.0, groups=5, **numbers):
    models = {
        "bicubic": row("baseline", 28.0, nfe=0),
        "regression": row("control", regression),
        "pca-residual": row("control", control),
        "dmgasr": row("model", model, **numbers),
        "pca-15-ceiling": row("ceiling", 53.0, nfe=0),
        "ae-ceiling": row("ceiling", ae, nfe=0),
        "latent-ceiling": row("ceiling", 55.0, nfe=0),
    }
    metrics = {"models": models, "scenes": {"a": {}, "b": {}}, "protocol": PROTOCOL}
    return PointResult(label, settings, metrics, groups)


@pytest.fixture
def ablations():
    return [
        result("full", {}),
        result("w/o GD", {"gae.global_decoder": False}, model=29.8, regression=30.2, ae=44.0),
        result("Diff-FB", {}, model=31.5, regression=30.9, ae=None, groups=1, seconds=12.0),
    ]


def lines_of(rows):
    return [(line.point, line.row) for line in rows]


def test_what_no_point_changes_stands_once_and_controls_stand_beside_the_model(ablations):
    rows = sweep_rows(ablations)
    every = {"pca-residual", "bicubic", "pca-15-ceiling", "latent-ceiling"}
    assert {line.row for line in rows if line.point == EVERY} == every
    own = [(label, name) for label in ("full", "w/o GD", "Diff-FB") for name in ("dmgasr", "regression", "ae-ceiling")]
    assert lines_of(rows)[len(every) :] == own


def test_the_margin_is_over_the_better_control_even_if_that_one_stands_at_the_head(ablations):
    margins = [line.values["control_margin_db"] for line in sweep_rows(ablations) if line.kind == "model"]
    assert margins == pytest.approx([30.0 - 31.0, 29.8 - 31.0, 31.5 - 31.0])


def test_a_single_point_keeps_its_rows(ablations):
    assert {line.point for line in sweep_rows(ablations[:1])} == {"full"}


def test_the_model_is_never_moved_to_the_head():
    rows = sweep_rows([result("a", {}), result("b", {})])
    assert [line.point for line in rows if line.kind == "model"] == ["a", "b"]


def test_mean_and_standard_deviation_of_every_row():
    rows = {line.row: line for line in spread_rows([result(f"seed {n}", {}, model=30.0 + n) for n in range(3)])}
    assert rows["dmgasr"].values["mpsnr_db"] == pytest.approx(31.0)
    assert rows["dmgasr"].spread["mpsnr_db"] == pytest.approx(1.0)  # n - 1 in the denominator
    assert rows["bicubic"].spread["mpsnr_db"] == 0.0
    assert rows["regression"].values["mpsnr_db"] == pytest.approx(30.5)


def test_a_mean_over_some_of_the_points_is_none(ablations):
    (line,) = (line for line in spread_rows(ablations) if line.row == "ae-ceiling")
    assert line.values["mpsnr_db"] is None
    assert line.spread["mpsnr_db"] is None


@pytest.mark.parametrize("make", [sweep_rows, spread_rows, as_csv])
def test_results_of_two_protocols_are_refused(ablations, make):
    ablations[1].metrics["protocol"] = {**PROTOCOL, "hash": "f" * 16, "fields": [["scale", 2]]}
    with pytest.raises(DataError, match="scale: 4 against 2"):
        make(ablations)


@pytest.mark.parametrize("render", [render_sweep, render_spread])
def test_the_table_fits_a_terminal_of_80_columns(ablations, render):
    console = Console(width=80, record=True, force_terminal=False)
    console.print(render("Ablations of DMGASR", ablations))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "protocol default 0123456789abcdef" in text
    for name in ("bicubic", "pca-residual", "regression", "ae-ceiling"):
        assert name in text


def test_a_points_own_line_carries_its_label(ablations):
    console = Console(width=80, record=True, force_terminal=False)
    console.print(render_sweep("x", ablations))
    line = next(line for line in console.export_text().splitlines() if "w/o GD" in line)
    assert line.split()[2:4] == ["29.80", "0.9000"]
    assert line.split()[-1] == "-1.20"


def test_markdown_and_csv_and_json_say_the_same(ablations):
    rows = list(csv.DictReader(as_csv(ablations).splitlines()))
    page = as_markdown("Ablations", ablations, spread=True)
    assert len(rows) == len(sweep_rows(ablations))
    assert page.count("| w/o GD |") == sum(entry["point"] == "w/o GD" for entry in rows)
    assert "± " not in page
    assert "31.50" in page
    tree = json.loads(json.dumps(sweep_tree("Ablations", ablations), allow_nan=False))
    assert [entry["row"] for entry in tree["rows"]] == [entry["row"] for entry in rows]
    assert tree["protocol"]["hash"] == PROTOCOL["hash"]
    missing = next(e for e in rows if (e["point"], e["row"]) == ("Diff-FB", "ae-ceiling"))
    assert missing["mpsnr_db"] == ""


def made_up(sweep):
    rng = np.random.default_rng(0)
    return [
        result(
            point.label,
            point.set,
            model=30 + rng.normal() / 5,
            regression=30.3 + (0 if sweep.name == "steps" else rng.normal() / 5),
            control=30.6 + (rng.normal() / 5 if sweep.name == "seeds" else 0),
            ae=45 if sweep.name == "steps" else 181.0 if point.label.startswith("Diff") else 45 + rng.normal(),
            sam=3 + rng.normal() / 10,
            seconds=0.1 + (8 if point.label == "Diff-PB" else 0.05) * point.set.get("sampling.steps", 1),
            nfe=point.set.get("sampling.steps", 1),
        )
        for point in sweep.points
    ]


@pytest.mark.parametrize("name", sweep_names())
def test_every_sweep_can_be_drawn(name):
    sweep = load_sweep(name)
    figure = sweep_figure(sweep.title, sweep.figure, made_up(sweep))
    FigureCanvasAgg(figure).draw()
    shown = {text.get_text() for axis in figure.axes for text in axis.get_yticklabels()}
    shown |= {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    wanted = {"ablations": "Diff-PB", "groups": "ae-ceiling", "steps": "dmgasr dpmpp_2m", "seeds": "regression"}
    assert wanted[name] in shown
    assert "pca-residual" in shown


def test_a_line_goes_through_its_points():
    sweep = load_sweep("steps")
    results = made_up(sweep)
    axis = sweep_figure(sweep.title, sweep.figure, results).axes[0]
    (line,) = (line for line in axis.lines if line.get_label() == "dmgasr ddim")
    assert list(line.get_xdata()) == [1, 2, 4, 10, 20, 100]
    assert list(line.get_ydata()) == [entry.metrics["models"]["dmgasr"]["mpsnr_db"] for entry in results[:6]]


def test_figures_of_two_protocols_are_refused(ablations):
    ablations[1].metrics["protocol"] = {**PROTOCOL, "hash": "f" * 16}
    with pytest.raises(DataError):
        sweep_figure("x", load_sweep("ablations").figure, ablations)
