"""The wheel of this checkout."""

import shutil
import subprocess
import sys
import tomllib

import pytest


@pytest.fixture(scope="session")
def wheel(repository, tmp_path_factory):
    """The wheel of this checkout, built outside of it."""
    place = tmp_path_factory.mktemp("wheel")
    settings = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["tool"]["hsipipe"]
    for name in ("hsipipe", "pyproject.toml", "setup.py", "README.md", "LICENSE", *settings["workspace"]):
        (place / name).parent.mkdir(exist_ok=True)
        if (repository / name).is_dir():
            shutil.copytree(repository / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(repository / name, place / name)
    code = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = (place / "dist").glob("*.whl")
    return built
