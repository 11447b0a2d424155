import shutil

import pytest


@pytest.fixture
def root(tmp_path, repository, fresh_store, monkeypatch):
    """A project that can run stages: params.yaml, dvc.yaml and a store."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(repository / name, tmp_path / name)
    shutil.copyfile(fresh_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path
