"""Who imports whom, seen from a fresh interpreter."""

import json
import pkgutil
import subprocess
import sys

import pytest

import hsipipe

HEAVY = {"prefect", "dvc", "mlflow", "torch"}


def loaded(code, **kwargs):
    """Top-level packages that a fresh interpreter has loaded after running `code`."""
    tail = "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=False, timeout=120, **kwargs
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_library_knows_no_orchestrator_no_versioner_no_tracker():
    names = [module.name for module in pkgutil.walk_packages(hsipipe.__path__, "hsipipe.")]
    code = "\n".join(f"import {name}" for name in names)
    assert len(names) > 30
    assert not loaded(code) & {"prefect", "dvc", "mlflow"}


@pytest.mark.parametrize("module", ["hsipipe", "tasks.__main__", "tasks.running.stages", "flows.__main__"])
def test_help_is_quick_because_nothing_heavy_is_imported(module):
    assert not loaded(f"import {module}") & HEAVY


def test_reading_every_stage_imports_nothing_heavy():
    assert not loaded("from tasks.running.stages import NAMES, STAGES\nfor name in NAMES: STAGES[name]") & HEAVY


def test_a_stage_that_dvc_runs_does_not_import_prefect(tmp_path, repository, fresh_store):
    """Under `dvc repro` nobody should wait for Prefect."""
    (tmp_path / "mlflow.db").write_bytes(fresh_store.read_bytes())
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    code = (
        "from tasks.running.dvc import set_params\n"
        "from pathlib import Path\n"
        "set_params(Path.cwd(), ['dataset.synthetic.scenes=1', 'dataset.synthetic.size=16'])\n"
        "from tasks.__main__ import main\n"
        "assert main(['download']) == 0\n"
    )
    modules = loaded(code, cwd=tmp_path)
    assert "mlflow" in modules
    assert "prefect" not in modules
