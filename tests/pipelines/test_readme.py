"""The README's Python runs as it stands there, on a model of fewer bands."""

import re

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BANDS_OF_THE_DEFAULT, BANDS = "31", "8"


def snippets(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_readme_shows_both_ways_to_load_a_model(repository):
    registry, folder = snippets(repository)
    assert "mlflow.pyfunc.load_model" in registry
    assert "hsipipe.load_model" in folder


@pytest.mark.parametrize("number", [0, 1])
def test_the_python_of_the_readme_runs(project, run, repository, number):
    code = snippets(repository)[number].replace(BANDS_OF_THE_DEFAULT, BANDS)
    done = run("-c", code, cwd=project)
    assert done.returncode == 0, done.stderr
    if promised := re.search(r"# (\(.*\))$", code, flags=re.MULTILINE):
        assert promised[1] in done.stdout


def test_the_readme_names_make_targets_that_exist(repository):
    targets = set(
        re.findall(r"^make (\w+)", (repository / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    assert targets == {"repro", "test"}
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)
