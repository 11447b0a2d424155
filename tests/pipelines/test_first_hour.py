"""The first hour of a user who has the wheel alone: look, sharpen, view; then a workspace, and its model elsewhere."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv

import numpy as np
import pytest
import rasterio
from product_files import ENMAP, write_enmap

from tasks.running.dvc import set_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

TINY = (
    "compare=[bicubic,pca-residual]",
    "dataset.synthetic.scenes=5",
    "dataset.synthetic.size=32",
    "dataset.synthetic.bands=8",
    "patches.size=16",
    "patches.stride=16",
    "patches.shard=8",
    "methods.pca-residual.width=8",
    "methods.pca-residual.blocks=1",
    *(f"methods.pca-residual.optimizer.{item}" for item in ("steps=4", "batch=2", "warmup=1", "validate_every=2")),
    "hardware.accelerator=cpu",
)
LOAD = """
import mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/hsipipe-synthetic-x4@challenger")
print(model.predict(np.full((1, 8, 6, 5), 0.4, np.float32)).shape)
"""


@pytest.fixture(scope="module")
def user(wheel, tmp_path_factory):
    """Run a program of a fresh environment, in which the wheel is installed.

    Installing torch takes minutes and a network. A .pth file therefore adds the packages of the test environment to the
    path. The editable install of this checkout stays invisible: Python ignores .pth files on an added path.
    """
    place = tmp_path_factory.mktemp("env")
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", f"--python={python}", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)
    (site,) = (place / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "MLFLOW_TRACKING_URI")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "COLUMNS": "200", "NO_COLOR": "1"}

    def run(*words, cwd, **more):
        done = subprocess.run(
            [place / "bin" / words[0], *map(str, words[1:])],
            cwd=cwd,
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="module")
def workspace(user, tmp_path_factory):
    """A workspace after `dvc repro` with tiny settings, and what `hsipipe init` said."""
    home = tmp_path_factory.mktemp("home")
    said = user("hsipipe", "init", "work", cwd=home)
    set_params(home / "work", TINY)
    user("python", "-m", "dvc", "repro", cwd=home / "work")
    return home / "work", said


def test_the_library_is_the_installed_one_and_no_package_of_a_checkout_is_there(user, tmp_path):
    code = "import hsipipe, importlib.util as u; print(hsipipe.__file__, u.find_spec('flows'), u.find_spec('tasks'))"
    place, *others = user("python", "-c", code, cwd=tmp_path).split()
    assert "env" in place
    assert others == ["None", "None"]


def test_a_scene_is_looked_at_sharpened_and_shown(user, tmp_path):
    rng = np.random.default_rng(0)
    fields = rng.integers(200, 6000, (6, 12, 12)).repeat(5, axis=1).repeat(5, axis=2).astype("i2")
    write_enmap(tmp_path / ENMAP[:20], fields)
    (scene,) = tmp_path.glob("ENMAP*")
    told = user("hsipipe", "info", scene, cwd=tmp_path)
    assert "EnMAP" in told
    words = shlex.split(told.strip().splitlines()[-1])
    assert words[:2] == ["hsipipe", "sharpen"]
    done = user(*words, "--scale", "2", "--minutes", "0.3", cwd=tmp_path)
    result = tmp_path / words[3]
    assert f"wrote {words[3]}" in done
    with rasterio.open(f"netcdf:{result}:reflectance") if result.suffix == ".nc" else rasterio.open(result) as raster:
        assert (raster.count, raster.width, raster.height) == (6, 120, 120)
    assert "command: sharpen" in user("hsipipe", "info", result, cwd=tmp_path)
    user("hsipipe", "view", scene, result, cwd=tmp_path)
    assert (tmp_path / "view.html").stat().st_size > 10_000


def test_the_workspace_runs_by_its_own_code_and_says_what_comes_next(workspace, user):
    root, said = workspace
    assert re.findall(r"^  (cd work|hsipipe pipeline|hsipipe info)", said, flags=re.MULTILINE) == [
        *("cd work", "hsipipe pipeline", "hsipipe info")
    ]
    assert (root / "reports/report/index.html").is_file()
    assert (root / "models/superresolver/MANIFEST.json").is_file()
    assert "up to date" in user("python", "-m", "dvc", "repro", cwd=root)
    place = user("python", "-c", "import hsipipe; print(hsipipe.__file__)", cwd=root).strip()
    assert place == str(root / "hsipipe/__init__.py")
    assert "hsipipe-synthetic-x4" in user("hsipipe", "models", cwd=root)


def test_its_model_is_loaded_from_any_folder(workspace, user, tmp_path):
    root, _ = workspace
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}"}
    assert user("python", "-c", LOAD, cwd=tmp_path, **store).strip().endswith("(1, 8, 24, 20)")
    np.save(tmp_path / "low.npy", np.full((8, 6, 5), 0.4, np.float32))
    model = "models:/hsipipe-synthetic-x4@challenger"
    user("hsipipe", "predict", "low.npy", "high.nc", "--model", model, cwd=tmp_path, **store)
    assert "model_place: models:/hsipipe-synthetic-x4/1" in user("hsipipe", "info", "high.nc", cwd=tmp_path)


def test_a_folder_that_is_not_empty_is_refused_in_a_line(user, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"is not empty; name a new or an empty folder"):
        user("hsipipe", "init", tmp_path, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
