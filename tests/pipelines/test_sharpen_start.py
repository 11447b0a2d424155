"""A scene of another sensor is sharpened from the network that the pipeline trained and registered."""

import json

import numpy as np
import pytest
import xarray as xr

from hsipipe.formats import open_cube, save_cube
from hsipipe.storage.manifest import digest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # MLflow warns when it logs the registered model.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

NAME = "hsipipe-synthetic-x4"
SETTINGS = (
    "compare=[bicubic,group-residual]",
    "registry.candidates=[group-residual]",
    "methods.group-residual.width=8",
    "methods.group-residual.blocks=1",
    *(f"methods.group-residual.optimizer.{item}" for item in ("steps=8", "batch=2", "warmup=1", "validate_every=4")),
)


@pytest.fixture
def project(new_project, execute_all, tmp_path):
    """A project whose registered model is a tiny group-residual of eight bands."""
    return execute_all(new_project(tmp_path / "project", *SETTINGS))


def test_a_scene_is_sharpened_from_the_registered_model(project, run, tmp_path):
    fields = np.random.default_rng(0).uniform(0.1, 0.9, (6, 20, 16)).repeat(4, axis=1).repeat(4, axis=2)
    save_cube(xr.DataArray(fields.astype(np.float32), dims=("band", "y", "x")), tmp_path / "scene.nc")
    words = ["-m", "flows", "sharpen", tmp_path / "scene.nc", tmp_path / "high.nc", "--minutes", 0.2]
    done = run(*words, "--start", f"models:/{NAME}@challenger", cwd=project)
    assert done.returncode in (0, 3), done.stderr
    assert open_cube(tmp_path / "high.nc").shape == (6, 320, 256)
    tree = json.loads((tmp_path / "high.json").read_text(encoding="utf-8"))
    assert tree["start"] == {
        "name": NAME,
        "version": "1",
        "place": f"models:/{NAME}/1",
        "sha256": digest(project / "models/superresolver"),
    }
    # On a busy machine there is no time for a training, and the start is a candidate unchanged.
    assert "steps" in tree["held_out"]["group-residual"]["training"]

    refused = run(*words, "--start", f"models:/{NAME}@challenger", "--scale", 2, cwd=project)
    assert refused.returncode == 1
    assert f"models:/{NAME}/1 is trained for scale 4, got --scale 2" in refused.stderr
    assert "Traceback" not in refused.stderr
