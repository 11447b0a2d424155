"""Readers of damaged and hostile files: a cube or one line, within bounded memory and time."""

import random
import shutil
import time

import pytest
from child import run
from mutations import mutate
from seeds import SEEDS, seeds


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return seeds(tmp_path_factory.mktemp("seeds"))


def write(folder, files):
    """Write files by relative path into an emptied folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("name", SEEDS)
def test_reader_gives_a_cube_or_one_line(name, contents, fuzz_seconds, tmp_path, keep_input):
    assert run_on(tmp_path, name, contents[name]).kind == "cube"
    rng, until = random.Random(name), time.monotonic() + fuzz_seconds / len(SEEDS)
    while time.monotonic() < until:
        files = mutate(contents[name], rng)
        outcome = run_on(tmp_path, name, files)
        assert not outcome.fault, keep_input(name, files, outcome.fault)


def run_on(folder, name, files):
    write(folder / "input", files)
    return run(folder / "input" / name)
