"""What all tests share: an environment that belongs to nobody, and a project folder to work in."""

import os
import shutil
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest_plugins = ["server_fixtures", "browser_fixtures", "wheel_fixtures"]

hypothesis.settings.register_profile("fast", max_examples=25, deadline=None)  # a busy machine is no failure
hypothesis.settings.register_profile("thorough", max_examples=300, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

# Set before any test imports what reads them.
os.environ.update(
    {
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
)
# Children import the same modules over and over; compiled once, an import takes half the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
for name in ("DVC_ROOT", "DVC_STAGE", "HSIPIPE_PIPELINE_RUN", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
    os.environ.pop(name, None)

PARTS = ("hsipipe", "tasks", "flows")
FILES = (
    "dvc.yaml",
    "params.yaml",
    "prefect.yaml",
    ".dvcignore",
    ".gitignore",
    ".dvc/config",
    ".dvc/.gitignore",
    "pyproject.toml",
    "setup.py",
)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items):
    """Keep the tests of a file on one worker, and those of a group; start what takes longest first."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(ROOT).as_posix()))
    items.sort(key=_impatience)


def _impatience(item):
    """Order of a test: slow ones first, and of these the ones that are given most time."""
    timeout = item.get_closest_marker("timeout")
    return item.get_closest_marker("slow") is None, -(timeout.args[0] if timeout else 0)


@pytest.fixture(scope="session")
def repository():
    """The checkout that these tests belong to."""
    return ROOT


@pytest.fixture(scope="session")
def copy_project():
    """A function that copies the code and configuration of the project, without anything that a run made."""

    def copy(target):
        target.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            shutil.copytree(ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__", "dvc.lock"))
        for name in FILES:
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
        return target

    return copy


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory):
    """An MLflow database without runs; making one takes seconds, copying it does not."""
    from hsipipe.model_registry.store import connect

    root = tmp_path_factory.mktemp("store")
    connect(root)
    return root / "mlflow.db"


@pytest.fixture(scope="session")
def small_model():
    """A function that makes a small pca-residual of eight bands and scale 4; another seed is another content."""
    import torch

    from hsipipe.methods.base import Frame
    from hsipipe.methods.catalogue import method_settings
    from hsipipe.methods.pca_residual import PcaResidual
    from hsipipe.params import load_params

    settings = method_settings(load_params(ROOT / "params.yaml"), "pca-residual")
    settings = settings.model_copy(update={"components": 5, "width": 8, "blocks": 1})

    def make(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = PcaResidual(Frame(8, 4), settings)
            model.set_components(torch.rand(100, 8), 0.1 * torch.randn(100, 8))
            torch.nn.init.normal_(model.tail.weight, std=0.1)
        return model.eval().requires_grad_(False)

    return make
