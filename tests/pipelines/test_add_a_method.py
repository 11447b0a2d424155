"""docs/add-a-method.md, followed to the letter in a copy of the reproduced project."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

METHOD = "hsipipe/methods/srcnn.py"
CATALOGUE = "hsipipe/methods/catalogue.yaml"
MOST_LINES = 70


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs" / "add-a-method.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def blocks(page):
    """The code of the page, by its language."""
    python, table, settings, *_ = re.findall(r"```(?:python|yaml)\n(.*?)```", page, flags=re.DOTALL)
    (shell,) = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    return {"python": python, "table": table, "settings": settings, "sh": shell.splitlines()}


@pytest.fixture
def newcomer(own_project, repository, blocks):
    """The reproduced project of somebody who wrote down the page's code, with `make` around this environment."""
    root = own_project
    for part in ("tests/plugins", "tests/methods"):
        shutil.copytree(repository / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tests/conftest.py", "Makefile", "constraints.txt"):
        shutil.copyfile(repository / name, root / name)
    (root / METHOD).write_text(blocks["python"], encoding="utf-8")
    _append(root / CATALOGUE, "catalogue:\n", blocks["table"])
    _append(root / "params.yaml", "methods:\n", blocks["settings"])
    tools = root / ".venv" / "bin"
    tools.mkdir(parents=True)
    (tools / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    (tools / "python").chmod(0o755)
    (root / ".venv" / ".installed").touch()
    return root


def _append(path, heading, lines):
    text = path.read_text(encoding="utf-8")
    assert text.count(f"\n{heading}") == 1, f"one {heading!r} in {path.name}"
    path.write_text(text.replace(f"\n{heading}", f"\n{heading}{lines}"), encoding="utf-8")


def test_the_page_has_one_file_one_line_and_settings(page, blocks):
    assert f"`{METHOD}`" in page
    assert f"`{CATALOGUE}`" in page
    assert len([line for line in blocks["python"].splitlines() if line.strip()]) < MOST_LINES
    assert len(blocks["table"].splitlines()) == 1
    assert list(yaml.safe_load(blocks["settings"])) == ["srcnn"]


@pytest.mark.parametrize(
    "command", [["check", "--config", "lint.isort.known-first-party=['hsipipe']"], ["format", "--check", "--diff"]]
)
def test_the_code_of_the_page_is_of_the_house_style(repository, blocks, run, tmp_path, command):
    shutil.copyfile(repository / "pyproject.toml", tmp_path / "pyproject.toml")
    path = tmp_path / METHOD
    path.parent.mkdir(parents=True)
    path.write_text(blocks["python"], encoding="utf-8")
    done = run("-m", "ruff", *command, METHOD, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_of_the_page_does_what_it_should(newcomer, blocks, environment):
    """The first run of a method trains it alone."""
    env = environment | {"PYTHONPATH": str(newcomer)}
    said = []
    for command in blocks["sh"]:
        done = subprocess.run(command, shell=True, cwd=newcomer, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        said.append(done.stdout)
    contract, listed, table = said
    assert re.search(r"\d+ passed", contract)
    assert "srcnn" in listed
    assert set(re.findall(r"Running stage '(\S+)'", table)) == {
        "tasks/dvc.yaml:train@srcnn",
        "evaluate@srcnn",
        "compare",
        "report",
        "register",
    }
    metrics = json.loads((newcomer / "reports/metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["descriptions"]) == ["bicubic", "srcnn"]
    for output in ("models/srcnn", "reports/curves/srcnn.csv", "reports/scores/srcnn", "reports/report/index.html"):
        assert (newcomer / output).exists(), output
