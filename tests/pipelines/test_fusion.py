"""Methods of an image pair: one added to a finished project of single images, and a pair that was measured."""

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import hsipipe
from hsipipe.methods.catalogue import saved_name
from hsipipe.model_registry.store import connect, global_store
from tasks.running import dvc
from tasks.running.stages import STAGES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # MLflow warns when it loads the registered model itself.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

COMPARED = ("bicubic", "fusion-fast", "sfim")
NAME = "hsipipe-synthetic-x4-fusion"


def metrics_of(root):
    return json.loads((root / "reports/metrics.json").read_text(encoding="utf-8"))


def test_a_pair_is_fused_compared_registered_and_served(own_project, fusion, monkeypatch):
    import mlflow

    dvc.set_params(own_project, fusion)
    monkeypatch.chdir(own_project)
    STAGES["train"].execute("fusion-fast-regression")
    for method in COMPARED[1:]:
        STAGES["train"].execute(method)
        STAGES["evaluate"].execute(method)
    for name in ("compare", "register", "report"):
        STAGES[name].execute()
    metrics = metrics_of(own_project)
    assert tuple(metrics["descriptions"]) == COMPARED
    assert metrics["trained"] == ["fusion-fast"]
    assert metrics["models"]["fusion-fast"]["consistency_psnr_db"] >= 45
    assert metrics["models"]["fusion-fast"]["msi_consistency_psnr_db"] >= 45
    assert sorted(path.name for path in (own_project / "reports/scores").iterdir()) == sorted(COMPARED)

    rng = np.random.default_rng(0)
    lr, msi = rng.random((1, 8, 6, 5), np.float32), rng.random((1, 3, 24, 20), np.float32)
    direct = hsipipe.load_model(own_project / "models/superresolver")
    assert direct.name == saved_name(own_project / "models/superresolver") == "fusion-fast"
    assert direct.msi_bands in (None, 3)
    with global_store(own_project):
        served = mlflow.pyfunc.load_model(f"models:/{NAME}@challenger").predict({"lr": lr, "msi": msi})
    np.testing.assert_array_equal(served, direct.predict(lr, msi=msi))
    (version,) = connect(own_project).search_model_versions(f"name = '{NAME}'")
    assert version.tags["model"] == "fusion-fast"


@pytest.fixture
def measured(new_project, fusion, tmp_path):
    """Cubes with an MSI that was measured, of one scene shifted by three pixels."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    rng = np.random.default_rng(0)
    mixing = rng.random((3, 8), np.float32)
    mixing /= mixing.sum(axis=1, keepdims=True)
    for name in "abcde":
        fields = gaussian_filter(rng.random((3, 48, 48), np.float32), (0, 1.5, 1.5)) * 4 - 1.5
        hsi = np.einsum("kc,khw->chw", rng.random((3, 8), np.float32) / 3, fields.clip(0, 1)).astype(np.float32)
        msi = np.tensordot(mixing, hsi, 1).astype(np.float32)
        np.save(folder / f"{name}.npy", hsi)
        np.save(folder / f"{name}_msi.npy", np.roll(msi, 3, axis=1) if name == "c" else msi)
    own = (f"dataset.root={folder}", "dataset.name=folder", "degradation.srf=measured")
    return new_project(tmp_path / "hsipipe", *fusion, *own)


def test_a_measured_pair_is_fused_with_an_estimated_response_and_a_shift_is_reported(measured, execute_all, caplog):
    with caplog.at_level("WARNING", logger="hsipipe"):
        execute_all(measured)
    (said,) = [record.getMessage() for record in caplog.records if "seems to be shifted" in record.getMessage()]
    assert "/c: The HR-MSI seems to be shifted against the LR-HSI by +3.0 rows" in said
    config = json.loads((measured / "models/fusion-fast-regression/config.json").read_text(encoding="utf-8"))
    assert config["pairing"]["response"] == "estimated"
    metrics = metrics_of(measured)
    # A row of a single image has not seen the HR-MSI.
    assert all(0 <= row["qnr"] <= 1 for name, row in metrics["models"].items() if name != "bicubic")
    assert "msi_consistency_psnr_db" not in metrics["models"]["fusion-fast"]  # the response is unknown
