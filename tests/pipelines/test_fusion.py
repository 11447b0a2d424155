"""Models of an image pair through every stage on a tiny scene set: trained, judged, registered, loaded, asked."""

import json
import re

import numpy as np
import pytest

import hsipipe
from hsipipe.models.base import SuperResolver
from hsipipe.models.catalogue import saved_name
from tasks import ledger
from tasks.catalogue import NAMES, STAGES
from tasks.stage import LEFT_OUT
from tasks.tracking.store import connect

pytestmark = [
    pytest.mark.slow,
    # MLflow says so of its own reading of the registered model; other tests run the stage in a process of its own.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

GROUPS = ("fusion_fast", "ddpmfus", "hsrdiff", "residual_fusion")
QUICK = ("steps=4", "batch=2", "warmup=1", "validate_every=2", "save_every=2")
SMALL = (
    "fusion_fast.components=4",
    "fusion_fast.windows=[1, 2]",
    "fusion_fast.width=8",
    "fusion_fast.blocks=1",
    "ddpmfus.unet.width=8",
    "ddpmfus.unet.multipliers=[1, 2]",
    "ddpmfus.diffusion.validation_steps=2",
    "hsrdiff.net.width=8",
    "hsrdiff.net.levels=2",
    "hsrdiff.net.window=4",
    "hsrdiff.net.heads=2",
    "hsrdiff.diffusion.validation_steps=1",
    "hsrdiff.progressive=[{until: 0.5, size: 8, batch: 2, trains: all}, "
    "{until: 1.0, size: 16, batch: 1, trains: second_half}]",
    "residual_fusion.width=8",
    "residual_fusion.blocks=1",
    "fusion.steps.ddpmfus=2",
    "fusion.steps.hsrdiff=2",
    *(
        f"{group}.optimizer.{item}"
        for group in ("fusion_fast", "ddpmfus", "hsrdiff", "residual_fusion")
        for item in QUICK
    ),
)
UNNEEDED = {"train_gae", "latents", "train_diffusion", "train_baseline", "train_control"}
NAME = "hsipipe-synthetic-x4-fusion"


@pytest.fixture(scope="module", params=["fusion-fast", "ddpmfus", "hsrdiff"])
def fused(request, new_project, tmp_path_factory):
    """A project after all stages, run one after another in this process. Not to be changed."""
    root = new_project(tmp_path_factory.mktemp("fusion") / "hsipipe", f"model.name={request.param}", *SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in NAMES:
            STAGES[name].execute()
    return request.param, root


def test_the_table_holds_untrained_methods_controls_and_the_model(fused):
    name, root = fused
    metrics = json.loads((root / "reports/metrics.json").read_text(encoding="utf-8"))
    kinds = {row: values["kind"] for row, values in metrics["models"].items() if values["kind"] != "ceiling"}
    untrained = dict.fromkeys(("bicubic", "sfim", "gsa", "cnmf", "hysure"), "baseline")
    assert kinds == {**untrained, "regression": "control", "residual-fusion": "control", name: "model"}
    assert metrics["models"][name]["consistency_psnr_db"] >= 50
    assert metrics["models"][name]["msi_consistency_psnr_db"] >= 50
    assert any("the best that needs no training" in text for text in metrics["verdicts"])
    page = (root / "reports/report/index.html").read_text(encoding="utf-8")
    assert "train fusion" in page
    assert "train gae" not in page


def test_stages_of_single_images_are_left_out(fused):
    _, root = fused
    for stage in UNNEEDED:
        files = {path.name for path in STAGES[stage].output.in_project(root).path.iterdir()}
        assert files == {"MANIFEST.json", LEFT_OUT}
    client = connect(root)
    runs = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    recorded = {run.data.tags.get("hsipipe.stage") for run in runs}
    assert not recorded & UNNEEDED
    assert {"train_fusion", "train_fusion_baseline", "train_fusion_control"} <= recorded


def test_the_registered_model_asks_for_both_images_and_answers(fused):
    import mlflow

    from tasks.tracking.store import global_store

    _, root = fused
    rng = np.random.default_rng(0)
    lr, msi = rng.random((1, 8, 6, 5), np.float32), rng.random((1, 3, 24, 20), np.float32)
    direct = hsipipe.load_model(root / "models/superresolver")
    assert isinstance(direct, SuperResolver)
    assert direct.msi_bands in (None, 3)
    with global_store(root):
        served = mlflow.pyfunc.load_model(f"models:/{NAME}@challenger").predict({"lr": lr, "msi": msi})
    np.testing.assert_array_equal(served, direct.predict(lr, msi=msi))
    (version,) = connect(root).search_model_versions(f"name = '{NAME}'")
    assert version.tags["model"] == saved_name(root / "models/superresolver")


def test_dvc_trains_what_the_model_needs_and_comes_back_without_training(own_project, run):
    """From single images to a pair and back: what was trained before is taken out of DVC's cache."""
    ledger.set_params(own_project, ["model.name=fusion-fast", *SMALL])
    done = run("-m", "tasks", "repro", cwd=own_project)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert {name for name in UNNEEDED if f"{name}: left out, fusion-fast does not need it" in said} == UNNEEDED
    assert "fusion-fast" in (own_project / "reports/metrics.json").read_text(encoding="utf-8")
    ledger.set_params(own_project, ["model.name=dmgasr"])
    back = run("-m", "dvc", "repro", cwd=own_project)
    assert back.returncode == 0, back.stdout + back.stderr
    assert not set(re.findall(r"Running stage '(\w+)'", back.stdout)) & UNNEEDED
    assert "pca-residual" in (own_project / "reports/metrics.json").read_text(encoding="utf-8")
