from hsipipe.params import load_params
from tasks.running.durations import forecast, remember, remembered
from tasks.running.stages import labels


def test_the_last_duration_is_kept(tmp_path):
    assert remembered(tmp_path, "train@edsr") is None
    remember(tmp_path, "train@edsr", 5.0)
    remember(tmp_path, "train@edsr", 64.25)
    assert remembered(tmp_path, "train@edsr") == 64.2
    (tmp_path / ".hsipipe/durations/train@edsr").write_text("?")
    assert remembered(tmp_path, "train@edsr") is None


def test_a_run_is_forecast_from_the_stages_that_have_run(tmp_path, repository):
    wanted = labels(load_params(repository / "params.yaml"))
    assert {"download", "train_gae@standard", "train@pca-residual", "evaluate@bicubic", "report"} < set(wanted)
    assert forecast(tmp_path, wanted) == ""
    remember(tmp_path, "download", 4.0)
    remember(tmp_path, "report", 60.0)
    remember(tmp_path, "train@of-another-run", 1e6)
    assert forecast(tmp_path, wanted).startswith(f"2 of {len(wanted)} stages last took 1 min 4 s; ")
    for label in wanted:
        remember(tmp_path, label, 10.0)
    assert forecast(tmp_path, wanted).startswith(f"{len(wanted)} stages last took {len(wanted) // 6} min ")
