"""Checkouts to put faults into: a finished one as the reference, and copies in which chosen stages are not done yet."""

import itertools
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("hsipipe", "tasks", "flows")
FILES = ("dvc.yaml", "params.yaml", "prefect.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore")
REPRO = ("-m", "tasks", "repro")
PIPELINE = ("-m", "flows", "pipeline")
PATIENCE_S = 120.0
MARK = "HSIPIPE_FAULT"
"""Variable that all processes of one checkout carry, so that what is left over of them can be found."""

_TRAINING = ("steps=4", "batch=2", "warmup=1", "validate_every=2", "save_every=2")
TINY = (
    *("dataset.synthetic.scenes=5", "dataset.synthetic.size=32", "dataset.synthetic.bands=8"),
    *("patches.size=16", "patches.stride=16", "patches.shard=8"),
    *("gae.n_subs=4", "gae.n_ovls=1", "gae.latent_channels=2", "gae.width=8", "gae.global_width=8"),
    *("diffusion.unet.width=8", "diffusion.validation_steps=1", "sampling.steps=2"),
    *("control.width=8", "control.blocks=1", "hardware.accelerator=cpu"),
    *("fusion_fast.components=4", "fusion_fast.windows=[1, 2]", "fusion_fast.width=8", "fusion_fast.blocks=1"),
    *("residual_fusion.width=8", "residual_fusion.blocks=1"),
    *(
        f"{group}.optimizer.{item}"
        for group in ("gae", "diffusion", "control", "fusion_fast", "residual_fusion")
        for item in _TRAINING
    ),
)


class FaultError(Exception):
    """Something does not hold that must hold after a fault."""


def check(condition: object, message: str) -> None:
    if not condition:
        raise FaultError(message)


def wait_until(condition: Callable[[], object], what: str, *, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        check(time.monotonic() < deadline, f"{what} did not happen within {patience_s:.0f} s")
        time.sleep(0.02)


@dataclass
class Checkout:
    """A copy of the project with all that one fault needs to know of it."""

    root: Path
    env: Mapping[str, str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    logs: Iterator[int] = field(default_factory=itertools.count)

    def variables(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**self.env, MARK: self.mark, **(env or {})}

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> "Child":
        log = self.root.parent / f"{self.root.name}.{next(self.logs)}.log"
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.root,
                env=self.variables(env),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Child(process, log)

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 600.0) -> tuple[int, str]:
        """Exit code and output of a command."""
        child = self.start(*arguments, env=env)
        return child.end(timeout_s=timeout_s)

    def finish(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """The plain command, which must end well."""
        code, said = self.run(*(arguments or REPRO), env=env)
        check(code == 0, f"the plain command ended with {code}: {said[-2000:]}")
        return said

    def processes(self) -> list[psutil.Process]:
        """Whoever belongs to this checkout."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def stage_process(self, stage: str) -> psutil.Process | None:
        """The process that works on a stage now."""
        try:
            pid = int((self.root / f".hsipipe/locks/{stage}.lock").read_text(encoding="utf-8"))
            process = psutil.Process(pid)
            return process if process.environ().get(MARK) == self.mark else None
        except (OSError, ValueError, psutil.Error):
            return None

    def dvc_process(self) -> psutil.Process | None:
        for process in self.processes():
            try:
                # As tasks.running.process knows it; the one above it that hands over to it has its module's name first.
                if any(Path(word).name == "dvc" for word in process.cmdline()[:3]):
                    return process
            except psutil.Error:
                continue
        return None


@dataclass
class Child:
    """A command that was started, and what it says."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def end(self, *, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        try:
            code = self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            raise FaultError(f"it did not end within {timeout_s:.0f} s: {self.said()[-1500:]}") from error
        return code, self.said()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def is_over(self) -> bool:
        return self.process.poll() is not None


def environment(prefect_home: Path) -> dict[str, str]:
    """Variables for the commands: this interpreter, one thread, nobody's server."""
    unwanted = ("DVC_ROOT", "DVC_STAGE", "HSIPIPE_PIPELINE_RUN", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PREFECT_HOME": str(prefect_home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }


def new_checkout(root: Path, overrides: Iterable[str]) -> None:
    """The code of this project with small parameters, committed; nothing ran in it."""
    from tasks.running.dvc import set_params

    root.mkdir(parents=True)
    for part in PARTS:
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    set_params(root, [*overrides])
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "start"]):
        subprocess.run(["git", *identity, *command], cwd=root, check=True)


def copy_of(
    reference: Path, root: Path, *, env: Mapping[str, str], store: Path, undone: Iterable[str] | None = ()
) -> Checkout:
    """A copy of a finished checkout in which some stages were never run.

    Args:
        reference: The finished one.
        root: Where the copy goes.
        env: Variables of its commands.
        store: An MLflow database without runs; that of the finished one knows where its files are.
        undone: Names of stages; None: all.
    """
    skipped = shutil.ignore_patterns("tmp", "__pycache__", ".hsipipe", "mlflow.db*", "mlartifacts")
    shutil.copytree(reference, root, symlinks=True, ignore=skipped)
    shutil.copyfile(store, root / "mlflow.db")
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    names = list(lock["stages"]) if undone is None else list(undone)
    for name in names:
        for out in lock["stages"].pop(name)["outs"]:
            path = root / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")
    # Else DVC would take the results out of its cache of earlier runs, and nothing would be run.
    shutil.rmtree(root / ".dvc" / "cache" / "runs", ignore_errors=True)
    if undone is None:
        shutil.rmtree(root / ".dvc" / "cache")
        (root / "dvc.lock").unlink()
    return Checkout(root, env)


def run_reference(root: Path, *, env: Mapping[str, str]) -> dict[str, float]:
    """Run everything undisturbed; the seconds that each stage took."""
    checkout = Checkout(root, env)
    names = list(yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    spans: dict[str, list[float]] = {}
    child = checkout.start(*REPRO)
    while not child.is_over():
        for name in names:
            if checkout.stage_process(name):
                spans.setdefault(name, [time.monotonic()] * 2)[1] = time.monotonic()
        time.sleep(0.02)
    code, said = child.end()
    check(code == 0, f"the undisturbed run ended with {code}: {said[-2000:]}")
    return {name: round(last - first, 2) for name, (first, last) in spans.items()}


@contextmanager
def begun(checkout: Checkout, stage: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Child]:
    """Start a command and wait until it works on a stage; whatever is left of it is ended afterwards."""
    child = checkout.start(*arguments, env=env)
    try:
        wait_until(lambda: checkout.stage_process(stage) or child.is_over(), f"the start of {stage}")
        check(not child.is_over(), f"it ended before {stage}: {child.said()[-1500:]}")
        yield child
    finally:
        for process in checkout.processes():
            try:
                process.kill()
            except psutil.Error:
                pass
        child.process.wait()
