"""The wheel holds the library alone, and its commands need no package of the pipeline."""

import os
import subprocess
import sys
import tomllib
import zipfile

import numpy as np
import pytest

from hsipipe.storage.publish import publish

NOT_INSTALLED = """
import sys
ABSENT = {"prefect", "dvc", "mlflow", "sqlalchemy", "tzlocal", "apprise", "flows", "tasks"}
class Without:
    def __init__(self, finder):
        self._finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self._finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self._finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
MAIN = "from hsipipe.commands.app import main; main()"


@pytest.fixture(scope="session")
def site(wheel, tmp_path_factory):
    """A folder with the content of the wheel, as pip would unpack it."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            archive.extract(name, folder)
    return folder


@pytest.fixture
def installed(site, tmp_path):
    """Run Python with the wheel in another folder."""

    def run(code, *arguments, cwd=tmp_path, env=None):
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "100", **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_wheel_holds_one_package_with_all_of_its_files(wheel, repository):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"hsipipe"}
    files = [path for path in (repository / "hsipipe").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.relative_to(repository).as_posix() for path in files} <= names


def test_the_wheel_has_the_files_of_a_workspace_as_they_are(wheel, repository):
    workspace = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["tool"]["hsipipe"]
    data = workspace["workspace-data"]
    with zipfile.ZipFile(wheel) as archive:
        held = {name.removeprefix(f"{data}/"): archive.read(name) for name in archive.namelist() if f"{data}/" in name}
    assert {name.partition("/")[0] for name in held} == {name.partition("/")[0] for name in workspace["workspace"]}
    assert {"dvc.yaml", "tasks/dvc.yaml", "tasks/register.py", "flows/commands/sweeps.yaml", ".dvc/config"} <= set(held)
    assert not any("__pycache__" in name or name.endswith("dvc.lock") for name in held)
    for name, content in held.items():
        assert content == (repository / name).read_bytes()


def test_an_installed_library_makes_a_workspace_and_says_how_to_install_the_pipeline(installed, repository, tmp_path):
    done = installed(f"{NOT_INSTALLED}\n{MAIN}", "init", "work")
    assert done.returncode == 0, done.stderr
    install, enter, *_ = done.stdout.splitlines()[1:]
    assert install.split("  #")[0].strip() == 'pip install "hsipipe[pipeline]"'
    assert enter.strip() == "cd work"
    for name in ("params.yaml", "tasks/register.py", "hsipipe/methods/edsr.py", "hsipipe/methods/catalogue.yaml"):
        assert (tmp_path / "work" / name).read_bytes() == (repository / name).read_bytes()
    assert not (tmp_path / "work" / "hsipipe" / "workspace_files").exists()


def test_the_commands_of_the_library_need_no_package_of_the_pipeline(installed, small_model, tmp_path):
    with publish(tmp_path / "model") as folder:
        small_model().save(folder)
    np.save(tmp_path / "low.npy", np.random.default_rng(0).random((8, 6, 5), dtype=np.float32))
    commands = [
        ["--help"],
        ["--version"],
        ["info", "low.npy"],
        ["quicklook", "low.npy", "low.png"],
        ["view", "low.npy"],
        ["predict", "low.npy", "high.npy", "--model", "model"],
        ["methods"],
        ["datasets"],
        ["preset", "dmgasr-paper"],
        ["protocol"],
        ["model-server", "--help"],
    ]
    code = (
        f"{NOT_INSTALLED}\n"
        "from typer.testing import CliRunner\n"
        "from hsipipe.commands.app import make_app, own_pipeline\n"
        "assert own_pipeline() is None\n"
        "import hsipipe.serving.server, hsipipe.commands.model_server\n"
        f"for words in {commands!r}:\n"
        "    result = CliRunner().invoke(make_app({}), words)\n"
        "    assert result.exit_code == 0, (words, result.output, result.exception)\n"
    )
    done = installed(code)
    assert done.returncode == 0, done.stderr
    assert {"high.npy", "low.png", "view.html"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pipeline", "-S", "degradation.scale=2"], "`hsipipe pipeline` needs prefect, dvc, mlflow"),
        (["predict", "a.npy", "b.npy", "--model", "models:/hsipipe-synthetic-x4/1"], "registry needs mlflow"),
    ],
)
def test_what_needs_the_pipeline_says_in_a_line_how_to_install_it(installed, tmp_path, arguments, says):
    np.save(tmp_path / "a.npy", np.zeros((8, 6, 5), np.float32))
    done = installed(f"{NOT_INSTALLED}\n{MAIN}", *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert says in line
    assert line.endswith('run: pip install "hsipipe[pipeline]"')


def test_an_installed_library_runs_the_pipeline_of_the_checkout_around_it(installed, copy_project, tmp_path):
    project = copy_project(tmp_path / "project")
    done = installed(MAIN, "sweep", cwd=project / "hsipipe")
    assert done.returncode == 0, done.stderr
    assert "ablations" in done.stdout
    outside = installed(MAIN, "sweep")
    assert (outside.returncode, outside.stdout) == (1, "")
    assert "run this inside the project's folder" in outside.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "no.npy", "high.npy", "--model", "model"],
        ["predict", "low.npy", "high.jpg", "--model", "model"],
        ["predict", "low.npy", "no/high.npy", "--model", "model"],
        ["predict", "low.npy", "high.npy", "--model", "no"],
        ["predict", "low.npy", "high.npy", "--model", "model", "--dtype", "int16"],
        ["predict", "counts.npy", "high.npy", "--model", "model", "--dtype", "like-input"],
        ["model-server", "--model", "no"],
    ],
)
def test_a_wrong_input_is_found_before_torch_is_loaded(small_model, tmp_path, arguments):
    with publish(tmp_path / "model") as folder:
        small_model().save(folder)
    np.save(tmp_path / "low.npy", np.zeros((8, 6, 5), np.float32))
    np.save(tmp_path / "counts.npy", np.zeros((8, 6, 5), np.int16))
    errors = ("MissingInputError", "FileFormatError", "ParamsError")
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom hsipipe.commands.app import make_app\n"
        f"result = CliRunner().invoke(make_app({{}}), {arguments!r})\n"
        "print(type(result.exception).__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() in [[error, "False"] for error in errors], done.stderr
