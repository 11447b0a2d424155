"""The reproduced project and the Prefect server of tests/pipelines, and a laboratory that puts faults into copies."""

import importlib.util
import itertools
from pathlib import Path

import pytest

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


@pytest.fixture(autouse=True)
def _beside_the_benchmarks(monkeypatch, repository):
    monkeypatch.syspath_prepend(repository / "benchmarks")


class Laboratory:
    """What the faults of benchmarks/injection ask for, with the project of all tests as the undisturbed run."""

    def __init__(self, project, store, scratch, env):
        self.project, self.store, self.scratch, self.env = project, store, scratch, env
        self._numbers = itertools.count()

    def reference(self, model):
        assert model == "dmgasr"
        return self.project

    def checkout(self, model, undone):
        from injection.laboratory import copy_of

        root = self.scratch / str(next(self._numbers)) / "hsipipe"
        return copy_of(self.reference(model), root, env=self.env, store=self.store, undone=undone)


@pytest.fixture
def lab(project, fresh_store, tmp_path):
    from injection.laboratory import environment

    (tmp_path / "prefect").mkdir()
    return Laboratory(project, fresh_store, tmp_path, environment(tmp_path / "prefect"))


@pytest.fixture
def endure(lab):
    """Put in a fault by its name; what it says must not happen is a failure of the test."""

    def endure(name):
        from injection.disturbances import FAULTS
        from injection.recovery import Skipped

        try:
            return FAULTS[name](lab)
        except Skipped as reason:
            pytest.skip(str(reason))

    return endure
