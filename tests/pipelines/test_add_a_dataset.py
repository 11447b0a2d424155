"""docs/add-a-dataset.md, followed to the letter in a copy of the project."""

import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import scipy.io

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DATASET = "hsipipe/datasets/salinas.py"
CATALOGUE = "hsipipe/datasets/catalogue.py"
TEST = "tests/unit/datasets/test_salinas.py"
MOST_LINES = 60


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def code(page):
    """The blocks of Python, by the file that the text before each one names."""
    found = re.findall(r"`([\w/]+\.py)`[^`]*\n\n```python\n(.*?)```", page, flags=re.DOTALL)
    return dict(found)


@pytest.fixture
def mirror(tmp_path):
    """A web server on this machine that gives a small file of the published layout; its address."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 10_000, (129, 97, 204)).astype(np.int16)
    scipy.io.savemat(folder / "Salinas_corrected.mat", {"salinas_corrected": values})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def newcomer(repository, new_project, code, tmp_path):
    """The project as somebody has it who wrote down the page's code."""
    root = new_project(tmp_path / "hsipipe")
    shared = ("tests/plugins/server_fixtures.py", "tests/conftest.py", "tests/unit/conftest.py")
    for part in (*shared, "tests/unit/datasets/conftest.py"):
        (root / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repository / part, root / part)
    (root / DATASET).write_text(code[DATASET], encoding="utf-8")
    (root / TEST).write_text(code[TEST], encoding="utf-8")
    table = (root / CATALOGUE).read_text(encoding="utf-8")
    end = table.rindex("    },\n")
    (root / CATALOGUE).write_text(table[:end] + code[CATALOGUE] + table[end:], encoding="utf-8")
    return root


def test_the_page_has_a_file_of_facts_a_line_and_a_test_in_under_60_lines(code):
    assert list(code) == [DATASET, CATALOGUE, TEST]
    lines = [line for block in code.values() for line in block.splitlines() if line.strip()]
    assert len(lines) < MOST_LINES
    assert len(code[CATALOGUE].splitlines()) == 1


@pytest.mark.parametrize("command", [["check"], ["format", "--check", "--diff"]])
def test_the_code_of_the_page_is_of_the_house_style(newcomer, run, command):
    done = run("-m", "ruff", *command, DATASET, CATALOGUE, TEST, cwd=newcomer)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_of_the_page_does_what_it_should(newcomer, page, mirror, environment, tmp_path):
    (block,) = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    promised = ("1 passed", "trust on first use", "salinas: 1 scene in", "Running stage 'degrade'")
    cache = tmp_path / "cache"
    env = environment | {"HSIPIPE_MIRROR": mirror, "HSIPIPE_CACHE": str(cache), "PYTHONPATH": str(newcomer)}
    env |= {"NO_PROXY": "127.0.0.1"}
    for command, words in zip(block.splitlines(), promised, strict=True):
        done = subprocess.run(command, shell=True, cwd=newcomer, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert words in done.stdout, f"{command}\n{done.stdout}{done.stderr}"
    assert (cache / "salinas" / "Salinas_corrected.mat").is_file()
    assert (newcomer / "data" / "pairs" / "pairs.json").is_file()


def test_the_page_names_variables_that_the_code_reads(page, repository):
    text = (repository / "hsipipe" / "datasets" / "download.py").read_text(encoding="utf-8")
    named = set(re.findall(r"HSIPIPE_[A-Z]+", page))
    assert named == set(re.findall(r"HSIPIPE_[A-Z]+", text))
