"""What makes a function a stage: ``python -m tasks <name>`` runs it, a flow calls it.

A stage is written as a function of its input artifacts that returns its output artifact::

    @stage(reads=("split", "degradation"))
    def degrade(run: StageRun, scenes: RawScenes) -> DegradedPairs: ...

The annotations are the edges of the pipeline; ``reads`` are the groups of params.yaml that it sees, and
no other. dvc.yaml says both once more for DVC, and a contract test compares them.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, get_type_hints

from hsipipe.artifacts import Artifact
from hsipipe.errors import MissingInputError, ParamsError, StageUnreachableError
from hsipipe.params import Params, load_params
from tasks.running.check_names import check_names
from tasks.running.curve import Curve
from tasks.running.project import PARAMS, curve_path, find_root, locks, summary_path
from tasks.running.retries import RETRIES, retry_delay_s

if TYPE_CHECKING:
    from tasks.tracking import StageTracker

P = ParamSpec("P")
R = TypeVar("R", bound=Artifact)
A = TypeVar("A", bound=Artifact)
LEFT_OUT = "left_out.txt"
"""The only file of an output that the model does not need."""
Summary = Mapping[str, float | int | str]


class ParamsView:
    """The groups of params.yaml that a stage declared; another one is an error, so none can go unnoticed."""

    def __init__(self, params: Params, *, reads: tuple[str, ...], stage: str) -> None:
        self._params, self._reads, self._stage = params, reads, stage

    def __getattr__(self, group: str) -> Any:
        if group not in self._reads:
            raise ParamsError(
                f"Stage {self._stage} reads the group {group!r} without declaring it; add it to `reads` "
                f"in tasks/{self._stage}.py and to the stage's params in dvc.yaml."
            )
        return getattr(self._params, group)

    def tree(self) -> dict[str, Any]:
        """The visible groups as plain values."""
        return self._params.model_dump(mode="json", include=set(self._reads))


@dataclass
class StageRun:
    """What a stage gets beside its inputs.

    Attributes:
        params: The groups of params.yaml that the stage reads.
        root: The project.
        out: Empty folder to fill; it is published when the stage ends well.
        work: Folder that survives a kill and is the same for the same inputs, params and code.
        tracker: The MLflow run.
    """

    params: Params
    root: Path
    out: Path
    work: Path
    tracker: "StageTracker"
    summary: dict[str, float | int | str] = field(default_factory=dict)
    curve: Curve = field(default_factory=Curve)
    texts: dict[str, str] = field(default_factory=dict)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics of a training step, in MLflow and in the curve for `dvc plots`."""
        self.curve.log(step, metrics)
        self.tracker.log(step, metrics)

    def log_figure(self, path: Path) -> None:
        """Show a picture or page in MLflow."""
        self.tracker.artifact(path, "figures")

    def publish_text(self, path: str, text: str) -> None:
        """Write a second output (relative to the root), when and only when the stage ends well."""
        self.texts[path] = text

    def finish(self, kind: type[A], summary: Summary) -> A:
        """The stage's result: its numbers, and the artifact that `out` is about to become."""
        self.summary.update(summary)
        return kind.in_project(self.root)


class Stage(Generic[P, R]):
    """One stage of the pipeline; see :func:`stage`."""

    def __init__(
        self,
        function: Callable[Concatenate[StageRun, P], R],
        *,
        reads: tuple[str, ...],
        trains: bool,
        fuses: bool | None,
    ) -> None:
        hints = get_type_hints(function)
        self.name = function.__name__
        self.reads = reads
        self.trains = trains
        self.fuses = fuses
        self.output = cast(type[R], hints.pop("return"))
        self.inputs: dict[str, type[Artifact]] = {name: hint for name, hint in hints.items() if hint is not StageRun}
        self.__doc__ = function.__doc__
        self._function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the stage as a Prefect task, in which DVC decides whether there is work."""
        return cast(R, self.task(*args, **kwargs))

    @cached_property
    def task(self) -> Any:
        """The Prefect task. Its inputs are handles: they order the tasks, DVC reads the files."""
        # Prefect is imported here and nowhere else in tasks/: `dvc repro` must not pay for it.
        from prefect import get_run_logger, task
        from prefect.cache_policies import NO_CACHE
        from prefect.tasks import exponential_backoff

        from tasks.running import dvc

        def body(*_args: Artifact, **_kwargs: Artifact) -> R:
            logger = get_run_logger()
            outcome = dvc.repro(find_root(), self.name, on_line=logger.info)
            logger.info("%s: %s", self.name, outcome.value)
            return self.output.in_project(find_root())

        return task(
            name=self.name,
            description=self.__doc__,
            cache_policy=NO_CACHE,
            retries=RETRIES,
            retry_delay_seconds=exponential_backoff(retry_delay_s()),
            # A training that failed fails again; a server that was down may be up.
            retry_condition_fn=_was_unreachable,
        )(body)

    def execute(self) -> None:
        """Run the stage here and now, as ``python -m tasks <name>`` does.

        Raises:
            MissingInputError: An input was not published yet.
            AlreadyRunningError: Another process runs this stage.
            HsipipeError: Whatever the stage itself finds wrong. Nothing is published then.
        """
        from hsipipe.storage.publish import publish
        from tasks.running.locks import hold
        from tasks.tracking import stage_run

        root = find_root()
        params = load_params(root / PARAMS)
        check_names(params)
        view = ParamsView(params, reads=self.reads, stage=self.name)
        with ExitStack() as stack:
            stack.enter_context(hold(locks(root) / f"{self.name}.lock", what=f"Stage {self.name}"))
            if self.fuses not in (None, params.model.fuses):
                self._leave_out(root, params.model.name)
                return
            inputs, digests = self._find_inputs(root)
            work = root / ".hsipipe" / "work" / self.name / _key(view, digests)
            work.mkdir(parents=True, exist_ok=True)
            tracker = stack.enter_context(
                stage_run(
                    root,
                    self.name,
                    params=params,
                    visible=view.tree(),
                    digests=digests,
                    system_metrics=self.trains,
                )
            )
            target = self.output.in_project(root).path
            with publish(target) as out:
                run = StageRun(cast(Params, view), root, out, work, tracker)
                cast(Callable[..., R], self._function)(run, **inputs)
                if run.curve:
                    _draw(run)
            self._write_numbers(run)
            tracker.finish(target, run.summary)
        shutil.rmtree(work, ignore_errors=True)

    def _leave_out(self, root: Path, model: str) -> None:
        """Publish an output that says that there is none: DVC's graph is one, whatever the model."""
        from hsipipe.storage.publish import publish, write_text

        with publish(self.output.in_project(root).path) as out:
            (out / LEFT_OUT).write_text("The model does not need this stage.\n", encoding="utf-8")
        write_text(root / summary_path(self.name), "{}\n")
        if self.trains:
            write_text(root / curve_path(self.name), Curve().csv())
        print(f"{self.name}: left out, {model} does not need it", file=sys.stderr)

    def _find_inputs(self, root: Path) -> tuple[dict[str, Artifact], dict[str, str]]:
        from hsipipe.storage.manifest import verify

        inputs, digests = {}, {}
        for name, kind in self.inputs.items():
            artifact = kind.in_project(root)
            try:
                # Names and sizes alone: DVC has compared the bytes, and a store can be large.
                verify(artifact.path, content=False)
            except FileNotFoundError as error:
                from tasks.catalogue import producer

                raise MissingInputError(
                    f"Stage {self.name} needs {kind.LOCATION}, which is not there; run: dvc repro {producer(kind)}"
                ) from error
            inputs[name] = artifact
            digests[kind.LOCATION] = _digest(artifact.path)
        return inputs, digests

    def _write_numbers(self, run: StageRun) -> None:
        from hsipipe.storage.publish import write_text

        # Numbers alone: DVC shows every key as a column. What is text stands in MLflow as a tag.
        numbers = {name: value for name, value in run.summary.items() if not isinstance(value, str)}
        texts = {summary_path(self.name): json.dumps(numbers, indent=2) + "\n", **run.texts}
        if self.trains:
            texts[curve_path(self.name)] = run.curve.csv()
        for path, text in texts.items():
            write_text(run.root / path, text)


def stage(
    *, reads: tuple[str, ...], trains: bool = False, fuses: bool | None = None
) -> Callable[[Callable[Concatenate[StageRun, P], R]], Stage[P, R]]:
    """Make a function a stage of the pipeline, under the function's name.

    Args:
        reads: Groups of params.yaml that it sees.
        trains: It logs a curve, and its use of CPU and GPU is recorded.
        fuses: It belongs to the models that fuse an image pair, or to those of a single image; where ``model.name`` is
            one of the others it does nothing. None: every model needs it.
    """

    def decorate(function: Callable[Concatenate[StageRun, P], R]) -> Stage[P, R]:
        return Stage(function, reads=reads, trains=trains, fuses=fuses)

    return decorate


def _was_unreachable(_task: Any, _run: Any, state: Any) -> bool:
    try:
        state.result()
    except StageUnreachableError:
        return True
    except Exception:
        return False
    return False


def _draw(run: StageRun) -> None:
    from hsipipe.evaluation.figures import save, training_curves

    table, picture = run.work / "curve.csv", run.work / "curve.png"
    table.write_text(run.curve.csv(), encoding="utf-8")
    figure = training_curves(table)
    if figure is not None:
        save(figure, picture)
        run.log_figure(picture)


def _digest(folder: Path) -> str:
    from hsipipe.storage.manifest import digest

    return digest(folder)


def _key(view: ParamsView, digests: Mapping[str, str]) -> str:
    """Names what a stage works on: params that it reads, inputs, and the code of the library."""
    import hsipipe

    code = hashlib.sha256()
    package = Path(hsipipe.__file__).parent
    for path in sorted(package.rglob("*.py")):
        code.update(f"{path.relative_to(package).as_posix()}\0".encode())
        code.update(path.read_bytes())
    content = {"params": view.tree(), "inputs": dict(digests), "code": code.hexdigest()}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
