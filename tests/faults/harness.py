"""Checkouts of a finished project to put faults into, and the invariants that hold after each fault."""

import csv
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from hsipipe.artifacts import Scores
from hsipipe.storage.manifest import MANIFEST, verify
from tasks.running.process import DVC
from tasks.running.project import DVC_LOCKS

REPRO = ("-m", "tasks", "repro")
PIPELINE = ("-m", "flows", "pipeline")
STAGE, OUT, GROUP = "train@pca-residual", "models/pca-residual", "methods.pca-residual"
"""A training whose output is bit-equal when it runs again, so that no later stage reruns; its output and parameters."""
PATIENCE_S = 120.0
ENDING_S = 30.0
"""Time for the processes of a killed pipeline to end in good order: a stage closes its MLflow run."""
MARK = "HSIPIPE_FAULT"
"""Environment variable that all processes of a checkout carry, so that survivors are found."""
TIMING_KEYS = frozenset({"seconds_per_image", "train_seconds", "html_bytes"})
"""Measured times, and the size of the page that prints them: excluded from comparisons."""
TIMED_FILES = ("index.html", "table.csv", "table.md", Scores.FILE)
"""Files of an output that print measured times."""


def wait_until(condition, event, *, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"{event} did not happen within {patience_s:.0f} s"
        time.sleep(0.02)


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


@dataclass
class Child:
    """A running command and its output."""

    process: subprocess.Popen
    log: Path

    def end(self, *, timeout_s=PATIENCE_S):
        """Wait for the end; exit code and output."""
        try:
            return self.process.wait(timeout=timeout_s), self.said()
        except subprocess.TimeoutExpired:
            kill_group(self.process)
            raise AssertionError(f"it did not end within {timeout_s:.0f} s: {self.said()[-1500:]}") from None

    def said(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def is_over(self):
        return self.process.poll() is not None


@dataclass
class Checkout:
    """A copy of the project, the variables of its commands, and the undisturbed project to compare it with."""

    root: Path
    env: dict
    reference: Path | None = None
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    logs: itertools.count = field(default_factory=itertools.count)

    def start(self, *arguments, env=None, prefix=(), **options):
        """Start ``python <arguments>`` in a process group apart; a variable that is None is removed."""
        log = self.root.parent / f"{self.root.name}.{next(self.logs)}.log"
        variables = {**self.env, MARK: self.mark, **(env or {})}
        with log.open("w", encoding="utf-8") as stream:
            streams = {"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(
                [*prefix, sys.executable, *arguments],
                cwd=self.root,
                env={name: value for name, value in variables.items() if value is not None},
                start_new_session=True,
                **{**streams, **options},
            )
        return Child(process, log)

    def run(self, *arguments, **options):
        """Exit code and output of a command; options as for :meth:`start`."""
        return self.start(*arguments, **options).end(timeout_s=600)

    def finish(self, *arguments, **options):
        """Output of a command that must end well."""
        code, said = self.run(*(arguments or REPRO), **options)
        assert code == 0, f"the plain command ended with {code}: {said[-2000:]}"
        return said

    @contextmanager
    def begun(self, *arguments, stage=STAGE, **options):
        """Start a command and wait until it works on a stage; kill at the end what is left of it."""
        child = self.start(*arguments, **options)
        try:
            wait_until(lambda: self.stage_process(stage) or child.is_over(), f"start of {stage}", patience_s=480)
            assert not child.is_over(), f"it ended before {stage}: {child.said()[-1500:]}"
            yield child
        finally:
            for process in self.processes():
                try:
                    process.kill()
                except psutil.Error:
                    pass
            child.process.wait()

    def processes(self):
        """All living processes of this checkout."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def stage_process(self, stage):
        """The process that works on a stage now."""
        try:
            process = psutil.Process(int((self.root / f".hsipipe/locks/{stage}.lock").read_text(encoding="utf-8")))
        except (OSError, ValueError, psutil.Error):
            return None
        return process if self._owns(process) else None

    def dvc_process(self):
        for process in self.processes():
            try:
                # As tasks.running.process recognises it; the process that execs it has its module's name first.
                if any(Path(word).name in DVC for word in process.cmdline()[:3]):
                    return process
            except psutil.Error:
                continue
        return None

    def _owns(self, process):
        try:
            return process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def check_tidy(self):
        """No process is left; each output is whole under its name or absent; dvc.lock and mlflow.db can be read."""
        try:
            wait_until(lambda: not self.processes(), "the end of all processes", patience_s=ENDING_S)
        except AssertionError:
            raise AssertionError(f"left over: {[' '.join(p.cmdline()) for p in self.processes()]}") from None
        for path in (self.root / name for name in _locked(self.reference)):
            if path.is_dir():
                assert (path / MANIFEST).is_file(), f"{path} has no manifest"
                verify(path)
            elif path.suffix == ".json" and path.exists():
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".csv" and path.exists():
                with path.open(encoding="utf-8") as stream:
                    assert len({len(row) for row in csv.reader(stream)}) <= 1, f"{path} has rows of different lengths"
        _locked(self.root)
        assert _query(self.root, "PRAGMA integrity_check") == [("ok",)]

    def check_results(self, *, complete=True, only=None):
        """Every output in dvc.lock (of the stages in `only`) is that of the undisturbed project."""
        mine, theirs = _locked(self.root), _locked(self.reference)
        assert not complete or set(mine) == set(theirs), f"other outputs: {sorted(set(mine) ^ set(theirs))}"
        for name, (stage, md5) in mine.items():
            if (only is None or stage in only) and theirs[name][1] != md5:
                assert _same_but_for_times(self.root / name, self.reference / name), f"{name} differs"

    def check_recovers(self, *command, env=None):
        """The plain command ends with the results of the undisturbed project, and no MLflow run stays open."""
        self.finish(*command, env=env)
        self.check_tidy()
        self.check_results()
        assert _query(self.root, "SELECT name FROM runs WHERE status = 'RUNNING'") == []

    def complaint(self, ended, *parts):
        """The last line of a command that must have failed and named the reason."""
        code, said = ended
        assert code not in (0, -signal.SIGKILL), f"it ended with {code}: {said[-1500:]}"
        assert "Traceback" not in said, said[-3000:]
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        assert lines, f"no line names the error: {said[-1500:]}"
        for part in parts:
            assert part in said, f"{part!r} is not named: {said[-1500:]}"
        return lines[-1].replace(str(self.root), "<checkout>")[:300]


@dataclass
class Laboratory:
    """Makes checkouts in which chosen stages never ran."""

    project: Path
    store: Path
    scratch: Path
    env: dict
    numbers: itertools.count = field(default_factory=itertools.count)

    def checkout(self, *undone, reference=None):
        """A copy of the reference (default: the project) without the results of the stages `undone`; "all": of none."""
        reference = reference or self.project
        root = self.scratch / str(next(self.numbers)) / "hsipipe"
        skipped = shutil.ignore_patterns("tmp", "__pycache__", ".hsipipe", "mlflow.db*", "mlartifacts")
        shutil.copytree(reference, root, symlinks=True, ignore=skipped)
        # The database of the reference records where its files are.
        shutil.copyfile(self.store, root / "mlflow.db")
        for place in (root / name for name in DVC_LOCKS):
            lock = yaml.safe_load(place.read_text(encoding="utf-8"))
            for name in [name for name in lock["stages"] if name in undone or undone == ("all",)]:
                for out in lock["stages"].pop(name)["outs"]:
                    path = root / out["path"]
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            place.write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")
        # Otherwise DVC restores the results of its earlier runs instead of running the stages.
        shutil.rmtree(root / ".dvc" / "cache" / "runs", ignore_errors=True)
        if undone == ("all",):
            shutil.rmtree(root / ".dvc" / "cache")
            for name in DVC_LOCKS:
                (root / name).unlink()
        return Checkout(root, self.env, reference)


def durations(project):
    """Seconds of each stage that ran in a project, by MLflow, in the order in which they ran."""
    query = "SELECT name, max(end_time - start_time) / 1000.0 FROM runs GROUP BY name ORDER BY min(start_time)"
    return {name: seconds for name, seconds in _query(project, query) if not name.startswith("pipeline ")}


def _locked(root):
    """Output -> (its stage, its hash), by DVC's lock files."""
    found = {}
    for path in (root / name for name in DVC_LOCKS):
        lock = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        for name, stage in lock.get("stages", {}).items():
            found |= {out["path"]: (name, out["md5"]) for out in stage["outs"]}
    return found


def _query(root, sql):
    with sqlite3.connect(root / "mlflow.db", timeout=30) as connection:
        found = connection.execute(sql).fetchall()
    connection.close()
    return found


def _same_but_for_times(mine, theirs):
    if mine.suffix == ".json":
        return _timeless(json.loads(mine.read_text())) == _timeless(json.loads(theirs.read_text()))
    if not mine.is_dir():
        return False
    manifests = [json.loads((folder / MANIFEST).read_text())["files"] for folder in (mine, theirs)]
    untimed = [{name: file for name, file in files.items() if name not in TIMED_FILES} for files in manifests]
    scores = Scores.FILE in manifests[0]
    return untimed[0] == untimed[1] and (not scores or _same_but_for_times(mine / Scores.FILE, theirs / Scores.FILE))


def _timeless(tree):
    if isinstance(tree, dict):
        return {key: _timeless(value) for key, value in tree.items() if key not in TIMING_KEYS}
    return [_timeless(entry) for entry in tree] if isinstance(tree, list) else tree
