"""Seconds of a target, and where inputs that show a defect are kept."""

import os
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--fuzz-seconds", type=float, default=10, help="seconds of all targets of the readers together")


@pytest.fixture
def fuzz_seconds(request):
    """Seconds of all targets of the readers together."""
    return request.config.getoption("--fuzz-seconds", default=10)


@pytest.fixture
def keep_input(tmp_path_factory):
    """A function that keeps an input that shows a defect, and says where."""

    def keep(name, files, why):
        folder = Path(os.environ.get("FUZZ_FOUND", tmp_path_factory.mktemp("found")))
        for path, data in files.items():
            place = folder / name.replace(".", "_") / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return f"{why}\nkept at {folder / name.replace('.', '_')}"

    return keep
