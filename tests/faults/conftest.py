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


def pytest_addoption(parser):
    parser.addoption(
        "--every-fault", action="store_true", help="all faults, and kills in every stage: an hour and a half"
    )


def pytest_configure(config):
    if config.getoption("--every-fault", default=False):
        # A shell ignores SIGINT in what it runs in the background, and all commands below would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def fusion_project(new_project, run, tmp_path_factory):
    """A reproduced project of an image pair. Not to be changed."""
    root = new_project(tmp_path_factory.mktemp("fusion") / "hsipipe", *_pipelines.FUSION)
    done = run("-m", "tasks", "repro", cwd=root, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture
def lab(project, fresh_store, tmp_path, environment):
    (tmp_path / "prefect").mkdir()
    return Laboratory(project, fresh_store, tmp_path, {**environment, "PREFECT_HOME": str(tmp_path / "prefect")})
