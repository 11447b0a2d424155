import io

from rich.console import Console

from hsipipe.evaluation.table import best_rows, print_table, render
from hsipipe.protocols.metrics import METRIC


def row(kind, mpsnr, **change):
    values = {
        "kind": kind,
        "mpsnr_db": mpsnr,
        "cube_psnr_db": 33.123,
        "mssim": 0.91234,
        "sam_deg": 12.345,
        "ergas": 12.3456,
        "cc": 0.99,
        "rmse": 0.01,
        "consistency_psnr_db": 101.5,
        "seconds_per_image": 123.456,
        "nfe": 100,
    }
    return {**values, **change}


METRICS = {
    "models": {
        "bicubic": row("method", 32.0, sam_deg=4.0),
        "pca-15-ceiling": row("ceiling", 50.0, sam_deg=1.0),
        "pca-residual": row("method", 33.0),
        "dmgasr": row("method", 34.5, sam_deg=5.0, ergas=None),
    },
    "scenes": {},
    "protocol": {"name": "default", "hash": "0123456789abcdef"},
}


FUSED = {
    **METRICS,
    "models": {name: {**values, "msi_consistency_psnr_db": 104.25} for name, values in METRICS["models"].items()},
}


def text(width=80, metrics=METRICS, **options):
    console = Console(width=width, file=io.StringIO(), **options)
    print_table(metrics, console)
    return console.file.getvalue()


def test_it_fits_eighty_columns_uncut():
    lines = text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in text()
    line = next(line for line in lines if "pca-15-ceiling" in line)
    assert "50.00" in line
    assert "101.50" in line
    assert "123.46" in line


def test_consistency_with_an_msi_takes_the_place_of_the_cube_psnr():
    lines = text(metrics=FUSED).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in text(metrics=FUSED)
    assert "104.25" in next(line for line in lines if "pca-15-ceiling" in line)
    assert ("MSI" in text(metrics=FUSED), "cube" in text(metrics=FUSED)) == (True, False)
    assert ("MSI" in text(), "cube" in text()) == (False, True)


def test_a_protocol_that_reports_the_cube_psnr_keeps_it():
    protocol = {**METRICS["protocol"], "fields": [["headline", "cube_psnr_db"]]}
    shown = text(metrics={**FUSED, "protocol": protocol})
    assert ("MSI" in shown, "cube" in shown) == (False, True)


def test_one_row_with_a_consistency_is_enough_and_the_others_are_marked():
    models = {**METRICS["models"], "dmgasr": FUSED["models"]["dmgasr"]}
    lines = text(metrics={**METRICS, "models": models}).splitlines()
    assert "104.25" in next(line for line in lines if "dmgasr" in line)
    assert "n/a" in next(line for line in lines if "pca-residual" in line)
    assert best_rows(models)["msi_consistency_psnr_db"] == {"dmgasr"}


def test_ceilings_stand_last_and_cannot_be_the_best():
    names = [str(cell) for cell in render(METRICS).columns[0].cells]
    assert names == ["bicubic", "pca-residual", "dmgasr", "pca-15-ceiling"]
    best = best_rows(METRICS["models"])
    assert best["mpsnr_db"] == {"dmgasr"}
    assert best["sam_deg"] == {"bicubic"}


def test_the_best_value_is_marked_in_text():
    lines = {line.split()[0]: line for line in text().splitlines() if line.strip()}
    assert "34.50*" in lines["dmgasr"]
    assert "4.00*" in lines["bicubic"]
    assert "33.00 " in lines["pca-residual"]
    assert "33.12*" in lines["pca-residual"]
    assert "*" not in lines["pca-15-ceiling"]


def test_deviations_over_seeds_stand_behind_the_mean():
    spread = {"dmgasr": {"mpsnr_db": 0.083, "seconds_per_image": 1.0}}
    shown = text(width=120, metrics={**METRICS, "spread": spread})
    line = next(line for line in shown.splitlines() if "dmgasr" in line)
    assert "34.50±0.08" in line
    assert line.count("±") == 1


def test_what_is_not_finite_is_marked():
    line = next(line for line in text().splitlines() if "dmgasr" in line)
    assert "n/a" in line


def test_a_small_number_is_not_shown_as_nothing():
    assert [METRIC["seconds_per_image"].text(value) for value in (0.0, 0.002, 0.006, 1.0, None)] == [
        "0.00",
        "<0.01",
        "0.01",
        "1.00",
        "n/a",
    ]


def test_the_sentences_stand_below():
    plain = " ".join(text().split())
    assert "dmgasr is 2.50 dB MPSNR above bicubic" in plain
    assert "! dmgasr has WORSE spectra" in plain
    assert "protocol default 0123456789abcdef" in plain


def test_a_row_whose_training_was_not_completed_is_marked_and_never_the_best():
    metrics = {**METRICS, "faults": {"dmgasr": "collapsed at step 800", "pca-15-ceiling": "its autoencoder: untrained"}}
    shown = text(metrics=metrics)
    assert "dmgasr (!)" in shown
    assert "pca-15-ceiling (!)" in shown
    assert "dmgasr is in no comparison: collapsed at step 800." in shown
    assert best_rows(METRICS["models"])["mpsnr_db"] == {"dmgasr"}
    assert best_rows(METRICS["models"], leave_out=metrics["faults"])["mpsnr_db"] == {"pca-residual"}
