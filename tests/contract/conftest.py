"""The graph as DVC resolves it, with every method of the catalogue in `compare`."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hsipipe.methods.catalogue import entries


@dataclass(frozen=True)
class Resolved:
    """A stage of dvc.yaml or tasks/dvc.yaml with its templates filled in; paths are relative to the project."""

    cmd: str
    deps: set[str]
    params: set[str]
    outs: set[str]


@pytest.fixture(scope="session")
def project(copy_project, tmp_path_factory):
    """A copy of the project that compares all methods, with a further seed and another number of steps."""
    root = copy_project(tmp_path_factory.mktemp("contract") / "project")
    tree = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    tree |= {"compare": list(entries()), "seeds": [1], "steps": {"methods": ["dmgasr"], "values": [4]}}
    (root / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def graph(project):
    """Every stage by its address in DVC."""
    from dvc.dependency.param import ParamsDependency
    from dvc.repo import Repo

    (project / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    with Repo(str(project)) as repo:
        resolved = {}
        for stage in repo.index.stages:
            deps = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
            groups = [dep.params for dep in stage.deps if isinstance(dep, ParamsDependency)]
            file = "" if stage.path_in_repo == "dvc.yaml" else f"{stage.path_in_repo}:"
            resolved[f"{file}{stage.name}"] = Resolved(
                stage.cmd,
                {_path(dep, project) for dep in deps},
                set().union(*groups),
                {_path(out, project) for out in stage.outs},
            )
    return resolved


def _path(edge, root):
    return Path(edge.fs_path).relative_to(root).as_posix()
