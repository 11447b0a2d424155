"""The reproduced project and the Prefect server of tests/pipelines, and a laboratory of copies to put faults into."""

import importlib.util
import signal
from pathlib import Path

import pytest

from .harness import Laboratory

_SHARED = Path(__file__).resolve().parents[1] / "pipelines" / "conftest.py"
_spec = importlib.util.spec_from_file_location("pipelines_conftest", _SHARED)
_pipelines = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_pipelines)

environment = _pipelines.environment
run = _pipelines.run
new_project = _pipelines.new_project
first_run = _pipelines.first_run
project = _pipelines.project
own_project = _pipelines.own_project
prefect_api = _pipelines.prefect_api

FUSION = (
    "model.name=fusion-fast",
    *("fusion_fast.components=4", "fusion_fast.windows=[1, 2]", "fusion_fast.width=8", "fusion_fast.blocks=1"),
    *("residual_fusion.width=8", "residual_fusion.blocks=1"),
    *(
        f"{group}.optimizer.{item}"
        for group in ("fusion_fast", "residual_fusion")
        for item in ("steps=4", "batch=2", "warmup=1", "validate_every=2", "save_every=2")
    ),
)


def pytest_addoption(parser):
    parser.addoption("--every-fault", action="store_true", help="all faults, and kills in every stage: about an hour")


def pytest_configure(config):
    if config.getoption("--every-fault", default=False):
        # A shell ignores SIGINT in what it runs in the background, and all commands below would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def fusion_project(new_project, run, tmp_path_factory):
    """A reproduced project of an image pair. Not to be changed."""
    root = new_project(tmp_path_factory.mktemp("fusion") / "hsipipe", *FUSION)
    done = run("-m", "tasks", "repro", cwd=root, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture
def lab(project, fresh_store, tmp_path, environment):
    (tmp_path / "prefect").mkdir()
    return Laboratory(project, fresh_store, tmp_path, {**environment, "PREFECT_HOME": str(tmp_path / "prefect")})
