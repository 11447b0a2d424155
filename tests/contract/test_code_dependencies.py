"""A stage must go stale when code changes that it runs: its code deps cover what it imports."""

import ast
from pathlib import Path

import grimp
import pytest

from hsipipe.methods.catalogue import entries
from hsipipe.params import load_params
from tasks.catalogue import NAMES, STAGES, address, items

ROOT = Path(__file__).resolve().parents[2]

# Modules that hold no value that reaches a result: params.yaml is complete; the others name, report and end.
NEUTRAL = {
    "hsipipe",
    "hsipipe.bands",
    "hsipipe.credentials",
    "hsipipe.errors",
    "hsipipe.params",
    "hsipipe.processes",
    "hsipipe.progress",
    "hsipipe.registry",
    "hsipipe.restoration",
}
PASSAGE = {"hsipipe.methods.catalogue"}
"""It names classes, whose own code is a dependency of their training, and loads what they saved."""
DOORS = {"hsipipe.artifacts"}
"""It lists the types of all stages; each stage follows those of its inputs."""
OF_SCORES = {"hsipipe.evaluation.metrics", "hsipipe.protocols", "hsipipe.protocols.metrics"}
"""Described by them is what has computed the scores, which a stage that reads scores does not compute again."""
READ_SCORES = ("compare", "report")
PREDICTS = ("train", "evaluate")
"""Stages that run the code of a method."""


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("hsipipe", "tasks", exclude_type_checking_imports=True, cache_dir=None)


@pytest.fixture(scope="module")
def params(project):
    return load_params(project / "params.yaml")


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


@pytest.fixture(scope="module")
def closure(imports):
    """Every module of hsipipe that some modules reach."""

    def closure(start, doors):
        found, waiting = set(), sorted(start)
        while waiting:
            module = waiting.pop()
            if module in found or module in NEUTRAL or module.startswith("hsipipe.params."):
                continue
            found.add(module)
            if module in doors:
                continue
            waiting += [m for m in imports.find_modules_directly_imported_by(module) if m.startswith("hsipipe")]
            waiting += list(registry_entries(module))
            # Importing a.b.c runs a and a.b too.
            waiting += [module.rpartition(".")[0]]
        return found - PASSAGE

    return closure


@pytest.fixture(scope="module")
def code(imports, closure):
    """Files of hsipipe that a stage runs for an item: its own, those that read its inputs, and the method's."""

    def code(name, item):
        start = {m for m in imports.find_modules_directly_imported_by(f"tasks.{name}") if m.startswith("hsipipe")}
        start |= {given.kind.__module__ for given in STAGES[name].inputs.values()} | {"hsipipe.artifacts.base"}
        if name in PREDICTS:
            start |= {entries()[item].where.partition(":")[0]}
        paths = {path_of(module) for module in closure(start, DOORS | (OF_SCORES if name in READ_SCORES else set()))}
        return {path.relative_to(ROOT).as_posix() for path in paths if _says_something(path)}

    return code


def once(params, name):
    """The items of a stage without further seeds and steps, whose dependencies stand for the code."""
    return [item for item in items(params, name) if "@" not in item]


def covered(path, deps):
    return any(path == dep or path.startswith(f"{dep}/") for dep in deps)


@pytest.mark.parametrize("name", NAMES)
def test_code_dependencies_cover_the_imports(graph, params, code, name):
    for item in once(params, name):
        deps = graph[address(name, item)].deps
        assert f"tasks/{name}.py" in deps
        # The folder of a training holds the digests of the method's own code.
        source = {entries()[item].code} if name == "evaluate" else set()
        missing = sorted(path for path in code(name, item) if not covered(path, deps | source))
        assert missing == [], f"add to the deps of {address(name, item)}"


@pytest.mark.parametrize("name", NAMES)
def test_dependencies_exist_and_are_needed(graph, params, code, name):
    every = [(graph[address(name, item)].deps, code(name, item)) for item in once(params, name)]
    used = set().union(*(paths for _, paths in every))
    for dep in set().union(*(deps for deps, _ in every)):
        if dep.startswith(("hsipipe/", "tasks/")):
            assert (ROOT / dep).exists(), dep
        if dep.startswith("hsipipe/"):
            assert any(covered(path, [dep]) for path in used), f"{name} never uses {dep}"


def test_the_code_of_a_method_makes_no_other_one_stale(graph):
    for name, entry in entries().items():
        for other, its in entries().items():
            if its.code != entry.code:
                assert entry.code not in graph[f"tasks/dvc.yaml:train@{other}"].deps, (name, other)


def _says_something(path):
    """Whether a package's __init__ holds more than a docstring."""
    return path.name != "__init__.py" or len(ast.parse(path.read_text(encoding="utf-8")).body) > 1
