"""A stage must go stale when code changes that it runs: dvc.yaml's code deps cover what the stage imports."""

import ast
from pathlib import Path

import grimp
import pytest
from graph import described

from hsipipe.methods.catalogue import entries
from tasks.running.stages import NAMES, STAGES

ROOT = Path(__file__).resolve().parents[2]

# Modules that say no result by themselves: params.yaml is complete, so hsipipe.params holds no value; the
# others name, parse, report, import and end.
NEUTRAL = {
    "hsipipe",
    "hsipipe.artifacts",
    "hsipipe.artifacts.base",
    "hsipipe.bands",
    "hsipipe.credentials",
    "hsipipe.errors",
    "hsipipe.json_text",
    "hsipipe.machine",
    "hsipipe.params",
    "hsipipe.processes",
    "hsipipe.progress",
    "hsipipe.registry",
    "hsipipe.restoration",
    # It names the methods and their inputs; a method's own line says which code it is.
    "hsipipe.methods",
    "hsipipe.methods.catalogue",
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
    start |= {given.kind.__module__ for given in STAGES[stage].inputs.values()}
    return reached(graph, start)


def reached(graph, start):
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


def uncovered(modules, deps):
    """Files of the modules that no dependency holds."""
    files = [path_of(module) for module in sorted(modules)]
    texts = [file.relative_to(ROOT).as_posix() for file in files if file.name != "__init__.py" or _says_something(file)]
    return [text for text in texts if not any(text == dep or text.startswith(f"{dep}/") for dep in deps)]


@pytest.mark.parametrize("stage", NAMES)
def test_code_dependencies_cover_the_imports(graph, stage):
    deps = described()[stage].deps
    assert f"tasks/{stage}.py" in deps
    assert uncovered(library_modules(graph, stage), deps) == [], f"add to the deps of {stage}"


@pytest.mark.parametrize("stage", ["train", "evaluate"])
@pytest.mark.parametrize("name", sorted(entries()))
def test_a_method_goes_stale_with_its_own_code(graph, name, stage):
    entry = entries()[name]
    # Its own code changes the folder of the trained method, which the evaluation depends on.
    deps = {entry.code, *described()[stage].deps}
    module = entry.where.partition(":")[0]
    assert path_of(module).relative_to(ROOT).as_posix().startswith(entry.code.removesuffix(".py"))
    assert uncovered(reached(graph, {module}), deps) == [], f"{stage}@{name} runs this code"


@pytest.mark.parametrize("stage", NAMES)
def test_dependencies_exist_and_are_needed(graph, stage):
    modules = library_modules(graph, stage)
    if stage in {"train", "evaluate"}:
        modules |= reached(graph, {entry.where.partition(":")[0] for entry in entries().values()})
    used = {path_of(module).relative_to(ROOT).as_posix() for module in modules}
    for dep in described()[stage].deps:
        if dep.startswith("hsipipe/"):
            assert (ROOT / dep).exists(), dep
            assert any(path == dep or path.startswith(f"{dep}/") for path in used), f"{stage} never uses {dep}"


def _says_something(init):
    """Whether a package's __init__ holds more than a docstring."""
    return len(ast.parse(init.read_text(encoding="utf-8")).body) > 1
