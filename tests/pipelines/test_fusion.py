"""Models of an image pair through every stage on a tiny scene set: trained, judged, registered, loaded, asked."""

import json
import re

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import hsipipe
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.methods.catalogue import saved_name
from tasks.catalogue import NAMES, STAGES
from tasks.running import dvc
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
    if name == "fusion-fast":  # hardly trained, the others leave 0..1, and what is clipped there is not consistent
        assert metrics["models"][name]["consistency_psnr_db"] >= 45
        assert metrics["models"][name]["msi_consistency_psnr_db"] >= 45
    assert any("(the best that needs no training)" in text for text in metrics["verdicts"])
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
    dvc.set_params(own_project, ["model.name=fusion-fast", *SMALL])
    done = run("-m", "tasks", "repro", cwd=own_project)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert {name for name in UNNEEDED if f"{name}: left out, fusion-fast does not need it" in said} == UNNEEDED
    assert "fusion-fast" in (own_project / "reports/metrics.json").read_text(encoding="utf-8")
    dvc.set_params(own_project, ["model.name=dmgasr"])
    back = run("-m", "dvc", "repro", *sorted(UNNEEDED), cwd=own_project)
    assert back.returncode == 0, back.stdout + back.stderr
    assert not set(re.findall(r"Running stage '(\w+)'", back.stdout)) & UNNEEDED
    assert (own_project / "models/control/model.safetensors").is_file()


@pytest.fixture(scope="module")
def measured(new_project, tmp_path_factory):
    """Cubes of one's own with an MSI that was measured, of one scene shifted by three pixels. Not to be changed."""
    folder = tmp_path_factory.mktemp("measured")
    rng = np.random.default_rng(0)
    mixing = rng.random((3, 8), np.float32)
    mixing /= mixing.sum(axis=1, keepdims=True)
    for name in "abcde":
        fields = gaussian_filter(rng.random((3, 48, 48), np.float32), (0, 1.5, 1.5)) * 4 - 1.5
        hsi = np.einsum("kc,khw->chw", rng.random((3, 8), np.float32) / 3, fields.clip(0, 1)).astype(np.float32)
        msi = np.tensordot(mixing, hsi, 1).astype(np.float32)
        np.save(folder / f"{name}.npy", hsi)
        np.save(folder / f"{name}_msi.npy", np.roll(msi, 3, axis=1) if name == "c" else msi)
    own = (f"dataset.root={folder}", "dataset.name=folder", "degradation.srf=measured", "model.name=fusion-fast")
    root = new_project(tmp_path_factory.mktemp("own") / "hsipipe", *SMALL, *own)
    return root


def test_a_measured_pair_is_fused_with_a_response_of_its_own_and_a_shift_is_told(measured, monkeypatch, caplog):
    monkeypatch.chdir(measured)
    with caplog.at_level("WARNING", logger="hsipipe"):
        for name in NAMES:
            STAGES[name].execute()
    (said,) = [record.getMessage() for record in caplog.records if "seems to be shifted" in record.getMessage()]
    assert "/c: The HR-MSI seems to be shifted against the LR-HSI by +3.0 rows" in said
    config = json.loads((measured / "models/fusion/config.json").read_text(encoding="utf-8"))
    assert config["pairing"]["response"] == "estimated"
    metrics = json.loads((measured / "reports/metrics.json").read_text(encoding="utf-8"))
    assert all(0 <= row["qnr"] <= 1 for row in metrics["models"].values())
    assert "msi_consistency_psnr_db" not in metrics["models"]["fusion-fast"]  # no response is known to ask
