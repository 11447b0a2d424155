import shutil

import pytest

from tasks.tracking.store import connect


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory):
    """An MLflow database without runs; making one takes seconds, copying it does not."""
    root = tmp_path_factory.mktemp("store")
    connect(root)
    return root / "mlflow.db"


@pytest.fixture
def root(tmp_path, repository, fresh_store, monkeypatch):
    """A project that can run stages: params.yaml, dvc.yaml and a store."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(repository / name, tmp_path / name)
    shutil.copyfile(fresh_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path
