"""A stage must go stale when code changes that it runs: dvc.yaml's code deps cover what the stage imports."""

import ast
from pathlib import Path

import grimp
import pytest
import yaml

from tasks.catalogue import NAMES, STAGES

ROOT = Path(__file__).resolve().parents[2]

# Modules that say no result by themselves: params.yaml is complete, so hsipipe.params holds no value; the
# others name, report, import and end.
NEUTRAL = {
    "hsipipe",
    "hsipipe.artifacts",
    "hsipipe.artifacts.base",
    "hsipipe.bands",
    "hsipipe.credentials",
    "hsipipe.errors",
    "hsipipe.params",
    "hsipipe.processes",
    "hsipipe.progress",
    "hsipipe.registry",
}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("hsipipe", "tasks", exclude_type_checking_imports=True, cache_dir=None)


def path_of(module):
    stem = ROOT / Path(*module.split("."))
    return stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")


def registry_entries(module):
    """Modules that a table names as "package.module:attribute"; no import statement shows them."""
    for node in ast.walk(ast.parse(path_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            target, colon, attribute = node.value.partition(":")
            if colon and attribute.isidentifier() and target.startswith("hsipipe."):
                yield target


def library_modules(graph, stage):
    """Every module of hsipipe that the stage's own file reaches, and those that read its inputs."""
    start = {m for m in graph.find_modules_directly_imported_by(f"tasks.{stage}") if m.startswith("hsipipe")}
    start |= {kind.__module__ for kind in STAGES[stage].inputs.values()}
    found, waiting = set(), sorted(start)
    while waiting:
        module = waiting.pop()
        if module in found or module in NEUTRAL or module.startswith("hsipipe.params."):
            continue
        found.add(module)
        waiting += [m for m in graph.find_modules_directly_imported_by(module) if m.startswith("hsipipe")]
        waiting += list(registry_entries(module))
        # Importing a.b.c runs a and a.b too.
        waiting += [module.rpartition(".")[0]]
    return found


@pytest.mark.parametrize("stage", NAMES)
def test_code_dependencies_cover_the_imports(graph, stage):
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["deps"]
    assert f"tasks/{stage}.py" in deps
    missing = []
    for module in sorted(library_modules(graph, stage)):
        path = path_of(module).relative_to(ROOT).as_posix()
        if path.endswith("__init__.py") and not _says_something(path_of(module)):
            continue
        if not any(path == dep or path.startswith(f"{dep}/") for dep in deps):
            missing.append(path)
    assert missing == [], f"add to the deps of {stage} in dvc.yaml"


@pytest.mark.parametrize("stage", NAMES)
def test_dependencies_exist_and_are_needed(graph, stage):
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["deps"]
    used = {path_of(module).relative_to(ROOT).as_posix() for module in library_modules(graph, stage)}
    for dep in deps:
        if dep.startswith("hsipipe/"):
            assert (ROOT / dep).exists(), dep
            assert any(path == dep or path.startswith(f"{dep}/") for path in used), f"{stage} never uses {dep}"


def _says_something(init):
    """Whether a package's __init__ holds more than a docstring."""
    return len(ast.parse(init.read_text(encoding="utf-8")).body) > 1
