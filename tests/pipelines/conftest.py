"""One tiny project, reproduced once; one Prefect server on this machine."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows.schedule import server
from hsipipe.locks import wait_for
from hsipipe.params import load_params
from tasks.running.dvc import set_params
from tasks.running.stages import NAMES, STAGES, address, items

QUICK = ("steps=4", "batch=2", "warmup=1", "validate_every=2", "save_every=2")
TINY = (
    "compare=[bicubic,pca-residual,dmgasr,dmgasr-regression]",
    "dataset.synthetic.scenes=5",
    "dataset.synthetic.size=32",
    "dataset.synthetic.bands=8",
    "patches.size=16",
    "patches.stride=16",
    "patches.shard=8",
    "gae.standard.n_subs=4",
    "gae.standard.n_ovls=1",
    "gae.standard.latent_channels=2",
    "gae.standard.width=8",
    "gae.standard.global_width=8",
    "methods.dmgasr-latent.unet.width=8",
    "methods.dmgasr.scale_net.width=8",
    "methods.dmgasr.diffusion_net.width=8",
    "methods.dmgasr.validation_samples=2",
    "methods.dmgasr.validation_steps=2",
    "methods.pca-residual.width=8",
    "methods.pca-residual.blocks=1",
    *(
        f"{group}.optimizer.{item}"
        for group in ("gae.standard", "methods.dmgasr", "methods.dmgasr-latent", "methods.pca-residual")
        for item in QUICK
    ),
    "sampling.steps=2",
    "sampling.ensemble=2",
    "sampling.steps_of={}",
    "hardware.accelerator=cpu",
)
FUSION = (
    "compare=[bicubic,fusion-fast,sfim]",
    *(f"methods.fusion-fast-regression.{item}" for item in ("components=4", "windows=[1,2]", "width=8", "blocks=1")),
    *(f"methods.fusion-fast-regression.optimizer.{item}" for item in QUICK),
)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Variables for children: their own Prefect home, no colours, tables of full width."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
        "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "1",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }


@pytest.fixture(scope="session")
def run(environment):
    """Run ``python <arguments>`` in a folder to its end."""

    def run(*arguments, cwd, env=None, timeout=280):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def new_project(copy_project):
    """A function that makes a committed checkout with tiny parameters."""

    def make(folder, *overrides):
        copy_project(folder)
        set_params(folder, [*TINY, *overrides])
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "start"]):
            identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
            subprocess.run(["git", *identity, *command], cwd=folder, check=True)
        return folder

    return make


@pytest.fixture(scope="session")
def fusion():
    """Overrides for a table of methods of an image pair."""
    return FUSION


@pytest.fixture(scope="session")
def execute_all():
    """A function that runs every stage of a project, one after another in this process."""

    def execute_all(root):
        params = load_params(root / "params.yaml")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            for name in NAMES:
                for item in items(params, name):
                    STAGES[name].execute(item)
        return root

    return execute_all


@pytest.fixture(scope="session")
def addresses():
    """A function that gives every stage that params.yaml asks for, as DVC names it."""

    def addresses(root):
        params = load_params(root / "params.yaml")
        return {address(name, item) for name in NAMES for item in items(params, name)}

    return addresses


@pytest.fixture(scope="session")
def first_run(new_project, run, tmp_path_factory):
    """The project after its first ``make repro``, and what that command said. Not to be changed.

    Parallel workers of xdist share it: the first one makes it, the others wait.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    root, said = shared / "project" / "hsipipe", shared / "project" / "stdout.txt"
    with wait_for(shared / "project.lock"):
        if not said.exists():
            shutil.rmtree(root, ignore_errors=True)
            done = run("-m", "tasks", "repro", cwd=new_project(root), timeout=550)
            assert done.returncode == 0, done.stdout + done.stderr
            said.write_text(done.stdout, encoding="utf-8")
    return root, said.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def project(first_run):
    """The reproduced project. Not to be changed."""
    return first_run[0]


@pytest.fixture
def own_project(project, tmp_path):
    """A copy of the reproduced project that a test may change."""
    target = tmp_path / "hsipipe"
    # Without DVC's locks: another test may be asking DVC about the original.
    shutil.copytree(project, target, symlinks=True, ignore=shutil.ignore_patterns("tmp"))
    return target


@pytest.fixture(scope="session")
def prefect_api(environment, tmp_path_factory):
    """The API of the server that `hsipipe serve` starts where there is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", environment["PREFECT_HOME"])
        with ExitStack() as stack:
            # Two workers that look for a free port at once find the same one, and one server would serve both.
            with wait_for(Path(tempfile.gettempdir()) / "hsipipe-tests-prefect.lock"):
                api = stack.enter_context(server(tmp_path_factory.mktemp("server")))
            assert api.startswith("http://127.0.0.1:")
            yield api
