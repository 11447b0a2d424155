"""Denoising through every stage on a tiny scene set, from the scenes to a registered model that predicts a file."""

import json

import numpy as np
import pytest
import xarray as xr

from hsipipe.commands.predict_file import predict_file
from hsipipe.formats import open_cube
from hsipipe.methods.presets import load_preset
from hsipipe.model_registry.store import connect
from hsipipe.params.overrides import as_overrides
from tasks.evaluate import HEADLINE

pytestmark = [
    pytest.mark.slow,
    # MLflow warns when it loads the registered model itself; other tests run the stage in another process.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


@pytest.fixture(scope="module")
def denoising(new_project, execute_all, tmp_path_factory):
    """A project after all stages, run one after another in this process. Not to be changed."""
    preset = {group: load_preset("denoise")[group] for group in ("degradation", "sampling")}
    compared = "compare=[bicubic,dmgasr]"
    return execute_all(new_project(tmp_path_factory.mktemp("denoising") / "hsipipe", compared, *as_overrides(preset)))


def test_the_input_is_the_baseline_and_consistency_is_undefined(denoising):
    metrics = json.loads((denoising / "reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics["baseline"] == "bicubic"  # at scale 1 the input itself
    assert metrics["gain_db"].keys() == metrics["models"].keys() - {"bicubic"}
    assert {row["consistency_psnr_db"] for row in metrics["models"].values()} == {None}
    assert ["degradation.task", "denoise"] in metrics["protocol"]["fields"]
    page = (denoising / "reports/report/index.html").read_text(encoding="utf-8")
    assert "denoising" in page


def test_the_model_is_named_after_the_task_and_keeps_the_grid_of_a_file(denoising, tmp_path, monkeypatch):
    name = "hsipipe-synthetic-denoise"
    client = connect(denoising)
    (version,) = client.search_model_versions(f"name = '{name}'")
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert parent.data.metrics.keys() == {f"{row}.{key}" for row in ("bicubic", "dmgasr") for key in HEADLINE}
    cube = np.random.default_rng(0).random((8, 20, 24), dtype=np.float32)
    xr.DataArray(cube, dims=("band", "y", "x"), name="reflectance").to_netcdf(tmp_path / "noisy.nc")
    monkeypatch.chdir(denoising)
    uri = f"models:/{name}/{version.version}"
    (written,) = predict_file(
        tmp_path / "noisy.nc", tmp_path / "clean.nc", model=uri, tile=16, overlap=4, full_scale=1.0
    )
    clean = open_cube(written)
    assert clean.shape == cube.shape
    assert np.isfinite(clean.values).all()
    assert not np.array_equal(clean.values, cube)
