"""One table out of the scores of several rows."""

import csv
import io
import json
import math
import re
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from hsipipe.artifacts.no_data import NO_DATA
from hsipipe.errors import DataError, FileFormatError, MissingInputError
from hsipipe.evaluation.comparison import RowScores, as_csv, as_markdown, compare_scores, read_scores
from hsipipe.evaluation.figures import method_dots
from hsipipe.protocols.metrics import METRIC


@pytest.fixture
def trees(all_scores):
    """The scores of each row, free to be changed."""
    return {name: deepcopy(tree) for name, (_, tree) in all_scores.items()}


def compared(trees):
    return compare_scores([RowScores(name, [tree]) for name, tree in trees.items()])


def again(tree, seed, shift):
    """The scores of the same method from another seed, `shift` dB better."""
    text = json.dumps(tree).replace(f'"{tree["name"]}"', f'"{tree["name"]}@seed-{seed}"')
    other = json.loads(text)
    for rows in other["scenes"].values():
        rows[other["name"]]["mpsnr_db"] += shift
    return other


def test_rows_stand_in_their_order_and_ceilings_last_and_once(metrics):
    kinds = {name: row["kind"] for name, row in metrics["models"].items()}
    assert list(kinds.items()) == [
        ("bicubic", "method"),
        ("pca-residual", "method"),
        ("dmgasr", "method"),
        ("dmgasr-regression", "method"),
        ("pca-3-ceiling", "ceiling"),
        ("ae-ceiling", "ceiling"),
    ]


def test_ceilings_of_another_autoencoder_are_rows_of_their_own(trees):
    for rows in trees["dmgasr-regression"]["scenes"].values():
        rows["ae-ceiling"]["mpsnr_db"] = 50.0
    models = compared(trees)["models"]
    assert models["ae-ceiling"]["mpsnr_db"] is None
    assert models["ae-ceiling (dmgasr-regression)"]["mpsnr_db"] == 50.0
    assert "pca-3-ceiling (dmgasr-regression)" not in models


def test_equal_ceilings_of_many_seeds_and_rows_stand_once(trees):
    """A mean of equal numbers can differ from them in the last digit."""
    for number, rows in enumerate(trees["dmgasr"]["scenes"].values()):
        rows["ae-ceiling"]["mpsnr_db"] = 55.123456789012345 + number / 7
    steps = json.loads(json.dumps(trees["dmgasr"]).replace('"dmgasr"', '"dmgasr@steps-4"'))
    other = json.loads(json.dumps(steps).replace("dmgasr@steps-4", "dmgasr@steps-8"))
    for tree in (steps, other):
        for rows in tree["scenes"].values():
            rows["ae-ceiling"]["mpsnr_db"] += 1.0
    seeds = [trees["dmgasr"], again(trees["dmgasr"], 1, 0.1), again(trees["dmgasr"], 2, 0.2)]
    same = json.loads(json.dumps(trees["dmgasr"]).replace('"dmgasr"', '"dmgasr@steps-2"'))
    rows = [("dmgasr", seeds), ("dmgasr@steps-2", [same]), ("dmgasr@steps-4", [steps]), ("dmgasr@steps-8", [other])]
    models = compare_scores([RowScores(name, runs) for name, runs in rows])["models"]
    assert [name for name in models if name.startswith("ae-")] == ["ae-ceiling", "ae-ceiling (dmgasr@steps-4)"]


def test_a_row_is_the_mean_over_scenes(metrics, names):
    per_scene = [metrics["scenes"][scene]["dmgasr"]["sam_deg"] for scene in names]
    assert metrics["models"]["dmgasr"]["sam_deg"] == pytest.approx(np.mean(per_scene))
    assert (metrics["models"]["dmgasr"]["nfe"], metrics["models"]["ae-ceiling"]["nfe"]) == (4, 0)


def test_gains_are_over_the_first_row(metrics, trees):
    models = metrics["models"]
    gain = models["dmgasr"]["mpsnr_db"] - models["bicubic"]["mpsnr_db"]
    assert metrics["gain_db"]["dmgasr"] == pytest.approx(gain)
    assert metrics["baseline"] == "bicubic"
    assert "bicubic" not in metrics["gain_db"]
    assert metrics["gain_db"]["ae-ceiling"] is None
    assert metrics["verdicts"][0].startswith("dmgasr is ")
    other = compared({"pca-residual": trees["pca-residual"], "bicubic": trees["bicubic"]})
    assert other["baseline"] == "pca-residual"
    assert other["gain_db"]["bicubic"] == pytest.approx(-metrics["gain_db"]["pca-residual"])


def test_protocol_test_set_and_validation_are_taken_over(metrics, trees):
    assert metrics["protocol"] == trees["bicubic"]["protocol"]
    assert metrics["test_set"] == trees["bicubic"]["test_set"]
    assert metrics["trained"] == list(metrics["validation"]) == ["pca-residual", "dmgasr", "dmgasr-regression"]
    assert metrics["validation"]["dmgasr"] == trees["dmgasr"]["val_mpsnr_db"]
    assert metrics["spread"] == metrics["seeds"] == {}
    assert "uncertainty" not in metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_seeds_give_mean_and_sample_deviation(trees):
    first = trees["dmgasr"]
    runs = [first, again(first, 1, 0.3), again(first, 2, 0.6)]
    # Interpolation is the same from every seed: a deviation of zero would look like a very stable training.
    untrained = [trees["bicubic"], again(trees["bicubic"], 1, 0.0), again(trees["bicubic"], 2, 0.0)]
    metrics = compare_scores([RowScores("bicubic", untrained), RowScores("dmgasr", runs)])
    single = compared({"bicubic": trees["bicubic"], "dmgasr": first})
    assert list(metrics["models"]) == list(single["models"])
    start = single["models"]["dmgasr"]["mpsnr_db"]
    assert metrics["models"]["dmgasr"]["mpsnr_db"] == pytest.approx(start + 0.3)
    assert metrics["gain_db"]["dmgasr"] == pytest.approx(single["gain_db"]["dmgasr"] + 0.3)
    assert list(metrics["spread"]) == ["dmgasr"]
    assert metrics["spread"]["dmgasr"]["mpsnr_db"] == pytest.approx(np.std([0.0, 0.3, 0.6], ddof=1))
    assert metrics["spread"]["dmgasr"]["sam_deg"] == pytest.approx(0, abs=1e-9)
    assert metrics["seeds"] == {"dmgasr": 3}
    cell = f"{start + 0.3:.2f}±0.30"
    assert cell in as_markdown(metrics)
    assert len(method_dots(metrics).axes) == 2


def test_a_seed_without_a_finite_number_has_no_mean(trees, names):
    other = again(trees["dmgasr"], 1, 0.0)
    other["scenes"][names[0]]["dmgasr@seed-1"]["sam_deg"] = None
    metrics = compare_scores([RowScores("bicubic", [trees["bicubic"]]), RowScores("dmgasr", [trees["dmgasr"], other])])
    assert metrics["models"]["dmgasr"]["sam_deg"] is metrics["spread"]["dmgasr"]["sam_deg"] is None


def test_other_scenes_are_refused(trees):
    trees["dmgasr"]["test_set"][0]["sha256"] = "f" * 64
    with pytest.raises(DataError, match="dmgasr and bicubic were scored on different scenes; evaluate both again"):
        compared(trees)


def test_another_protocol_is_refused(trees, protocol):
    trees["dmgasr"]["protocol"] = replace(protocol, scale=2).as_json()
    with pytest.raises(DataError, match=r"different protocols .*scale: (4 against 2|2 against 4)"):
        compared(trees)


def test_another_seed_of_another_protocol_is_refused(trees, protocol):
    other = again(trees["dmgasr"], 1, 0.0)
    other["protocol"] = replace(protocol, scale=2).as_json()
    with pytest.raises(DataError, match="different protocols"):
        compare_scores([RowScores("dmgasr", [trees["dmgasr"], other])])


def test_methods_of_one_image_and_of_a_pair_stand_in_one_table(trees, scored, net):
    trees["fused"] = scored(net(fuses=True), "fused")[1]
    metrics = compared(trees)
    assert metrics["models"]["fused"]["msi_consistency_psnr_db"] > 0
    assert "msi_consistency_psnr_db" not in metrics["models"]["dmgasr"]
    (header, *lines) = as_markdown(metrics).splitlines()
    column = header.split("|").index(f" {METRIC['msi_consistency_psnr_db'].title} dB ")
    cells = {line.split("|")[1].strip(): line.split("|")[column].strip() for line in lines[1:]}
    assert (cells["dmgasr"], math.isfinite(float(cells["fused"]))) == ("n/a", True)


def test_the_csv_holds_all_digits_and_no_word_for_what_is_not_finite(metrics):
    rows = {row["row"]: row for row in csv.DictReader(io.StringIO(as_csv(metrics)))}
    assert list(rows) == list(metrics["models"])
    assert float(rows["dmgasr"]["mpsnr_db"]) == metrics["models"]["dmgasr"]["mpsnr_db"]
    assert rows["ae-ceiling"]["mpsnr_db"] == rows["dmgasr"]["mpsnr_db_std"] == ""


def test_scores_are_read_from_their_folder(folders, trees, tmp_path):
    assert read_scores(folders["dmgasr"]) == trees["dmgasr"]
    with pytest.raises(MissingInputError, match="run the stage evaluate"):
        read_scores(tmp_path)
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"is not JSON .* run the stage evaluate again"):
        read_scores(tmp_path)


def test_faults_of_trainings_stand_with_their_rows(trees):
    trees["dmgasr"]["faults"] = {"dmgasr": "collapsed at step 8", "ae-ceiling": "its autoencoder: untrained"}
    tree = compared(trees)
    assert tree["faults"] == {"dmgasr": "collapsed at step 8", "ae-ceiling": "its autoencoder: untrained"}
    assert "| dmgasr (!) |" in as_markdown(tree)
    assert "\ndmgasr (!): collapsed at step 8.\n" in as_markdown(tree)
    cells = {row["row"]: row["fault"] for row in csv.DictReader(io.StringIO(as_csv(tree)))}
    assert cells["dmgasr"] == "collapsed at step 8"
    assert cells["bicubic"] == ""
    assert "faults" not in compared({name: {**scores, "faults": {}} for name, scores in trees.items()})


def test_the_notebook_reads_keys_that_every_result_with_a_posterior_has(trees, repository):
    book = json.loads((repository / "docs" / "notebooks" / "read-a-result.ipynb").read_text(encoding="utf-8"))
    code = "".join(line for cell in book["cells"] if cell["cell_type"] == "code" for line in cell["source"])
    read = set(re.findall(r'metrics\["(\w+)"\]', code))
    assert "protocol" in read
    assert read - {"uncertainty"} <= compared(trees).keys()


def test_a_fault_of_one_seed_is_counted(trees):
    good, bad = trees["dmgasr"], again(trees["dmgasr"], 1, -3.0)
    bad["faults"] = {"dmgasr@seed-1": "collapsed at step 8"}
    tree = compare_scores([RowScores("bicubic", [trees["bicubic"]] * 2), RowScores("dmgasr", [good, bad])])
    assert tree["faults"] == {"dmgasr": "1 of 2 trainings: collapsed at step 8"}


def without_ssim(trees, scene):
    """The scores of a scene whose holes leave no whole window of SSIM."""
    for tree in trees.values():
        for values in tree["scenes"][scene].values():
            values["mssim"] = None


def test_a_mean_skips_scenes_whose_holes_leave_nothing_to_measure(trees, names):
    whole = compared(trees)
    for tree in trees.values():
        tree["test_set"][0][NO_DATA] = 0.4
    without_ssim(trees, names[0])
    metrics = compared(trees)
    assert metrics["undefined"] == {"mssim": [names[0]]}
    for row, values in metrics["models"].items():
        assert values["mssim"] == whole["scenes"][names[1]][row]["mssim"]
        assert values["mpsnr_db"] == whole["models"][row]["mpsnr_db"]
    note = f"MSSIM: mean without {names[0]}, where pixels without data leave no whole window or block."
    assert note in as_markdown(metrics)
    assert metrics["scenes"][names[0]]["bicubic"]["mssim"] is None


def test_a_mean_of_complete_scenes_skips_none(trees, names):
    without_ssim(trees, names[0])
    metrics = compared(trees)
    assert "undefined" not in metrics
    assert metrics["models"]["bicubic"]["mssim"] is None
    assert "without" not in as_markdown(metrics)


def test_a_value_that_one_row_lacks_is_missing_in_its_mean(trees, names):
    """A perfect restoration of one row is no hole of the scene."""
    for tree in trees.values():
        tree["test_set"][0][NO_DATA] = 0.4
    trees["bicubic"]["scenes"][names[0]]["bicubic"]["mpsnr_db"] = None
    metrics = compared(trees)
    assert "undefined" not in metrics
    assert metrics["models"]["bicubic"]["mpsnr_db"] is None
    assert metrics["models"]["dmgasr"]["mpsnr_db"] is not None


def test_a_metric_that_no_scene_has_stays_undefined(trees, names):
    for tree in trees.values():
        for entry in tree["test_set"]:
            entry[NO_DATA] = 0.9
    for name in names:
        without_ssim(trees, name)
    metrics = compared(trees)
    assert "undefined" not in metrics
    assert metrics["models"]["bicubic"]["mssim"] is None
