"""The Python of README.md and docs/use-a-model.md runs as written there, on a model of fewer bands and fewer scenes."""

import re

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BANDS_OF_THE_DEFAULT, BANDS = "31", "8"
SCENE_OF_THE_DEFAULT = "synthetic_02"


SNIPPETS = [("README.md", 0), ("docs/use-a-model.md", 0), ("docs/use-a-model.md", 1), ("docs/uncertainty.md", 0)]


def snippets(repository, page):
    text = (repository / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_both_ways_to_load_a_model_are_shown(repository):
    (first,) = snippets(repository, "README.md")
    registry, folder = snippets(repository, "docs/use-a-model.md")
    assert first == registry
    assert "mlflow.pyfunc.load_model" in registry
    assert "hsipipe.load_model" in folder


@pytest.mark.parametrize(("page", "number"), SNIPPETS)
def test_the_python_of_the_pages_runs(project, run, repository, page, number):
    scene = next((project / "data" / "pairs" / "test").glob("*.zarr")).stem
    code = snippets(repository, page)[number].replace(BANDS_OF_THE_DEFAULT, BANDS).replace(SCENE_OF_THE_DEFAULT, scene)
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
