"""Wrap a function as a stage of the pipeline; ``python -m tasks <name>`` runs it.

A stage is written as a function of its input artifacts that returns its output artifact::

    @stage(reads=("split", "degradation"))
    def degrade(run: StageRun, scenes: RawScenes) -> DegradedPairs: ...

The annotations are the edges of the pipeline; ``reads`` names the groups of params.yaml that the stage can access.
dvc.yaml and tasks/dvc.yaml repeat both for DVC, and a contract test compares them. A stage that runs once per method
or autoencoder gets its name as ``run.item``; an input ``X | None`` is given to methods trained on it only: latents and
their autoencoder, or a regression.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from hsipipe.artifacts import Artifact, TrainedMethod
from hsipipe.checkout import PARAMS, find_root, locks
from hsipipe.errors import MissingInputError, ParamsError
from hsipipe.params import Params, load_params
from hsipipe.progress import duration
from tasks.running.check_names import check_names
from tasks.running.curve import Curve
from tasks.running.durations import remember, remembered
from tasks.running.project import curve_path, summary_path
from tasks.running.rows import Row, all_rows

if TYPE_CHECKING:
    from tasks.tracking import StageTracker

_KEY_NUMBERS = ("psnr_db", "gain_db", "patches", "regions", "scenes")
"""Parts of the names of a stage's numbers, the most telling first."""

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Artifact)
A = TypeVar("A", bound=Artifact)
Each = Literal["method", "autoencoder"]
Summary = Mapping[str, float | int | str]
_CHECKED = {"dataset", "degradation", "protocol", "split"}
"""Groups whose names are checked only by stages that read them, since the check has slow imports."""


class ParamsView:
    """The groups of params.yaml that a stage has declared; access to any other group is an error."""

    def __init__(self, params: Params, *, reads: tuple[str, ...], stage: str) -> None:
        self._params, self._reads, self._stage = params, reads, stage

    def __getattr__(self, group: str) -> Any:
        if group not in self._reads:
            raise ParamsError(
                f"Stage {self._stage} reads the group {group!r} without declaring it; add it to `reads` "
                f"in tasks/{self._stage}.py and to the stage's params in dvc.yaml."
            )
        return getattr(self._params, group)

    def tree(self, item: str) -> dict[str, Any]:
        """Return the visible groups as plain values; of groups with one entry per method or autoencoder, the item's."""
        from hsipipe.methods.catalogue import autoencoders, entry
        from hsipipe.params import inherited

        tree = self._params.model_dump(mode="json", include=set(self._reads))
        if "methods" in tree:
            row = Row.parse(item)
            settings = inherited(tree["methods"], row.method, entry(row.method).like)
            own = {"seed": row.seed} if row.seed is not None and "seed" in settings else {}
            tree["methods"] = {item: {**settings, **own}}
        if "gae" in tree:
            tree["gae"] = {item: inherited(tree["gae"], item, autoencoders().get(item, item))}
        return tree


@dataclass
class StageRun:
    """The context of a running stage.

    Attributes:
        params: The groups of params.yaml that the stage reads.
        root: The project.
        item: The method, autoencoder or row; empty for a stage that runs once.
        out: Empty folder for the output; it is published when the stage succeeds.
        work: Working folder that survives a kill; it is the same for the same inputs, params and code.
        tracker: The MLflow run.
    """

    params: Params
    root: Path
    item: str
    out: Path
    work: Path
    tracker: "StageTracker"
    summary: dict[str, float | int | str] = field(default_factory=dict)
    curve: Curve = field(default_factory=Curve)
    texts: dict[str, str] = field(default_factory=dict)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics of a training step in MLflow and in the curve for `dvc plots`."""
        self.curve.log(step, metrics)
        self.tracker.log(step, metrics)

    def log_figure(self, path: Path) -> None:
        """Store an image or page in MLflow."""
        self.tracker.artifact(path, "figures")

    def publish_text(self, path: str, text: str) -> None:
        """Register a second output (path relative to the root), which is written only if the stage succeeds."""
        self.texts[path] = text

    def finish(self, kind: type[A], summary: Summary) -> A:
        """Return the result of the stage: record its numbers, and give a handle of the artifact that `out` becomes."""
        self.summary.update(summary)
        return kind.in_project(self.root, self.item)


@dataclass(frozen=True)
class Input:
    """A parameter of a stage's function.

    Attributes:
        kind: Type of the artifact.
        many: One artifact for each row of the table.
        optional: None for methods that are not trained on it.
    """

    kind: type[Artifact]
    many: bool
    optional: bool


class Stage(Generic[R]):
    """One stage of the pipeline; see :func:`stage`."""

    def __init__(self, function: Callable[..., R], *, reads: tuple[str, ...], each: Each | None, trains: bool) -> None:
        hints = get_type_hints(function)
        self.name = function.__name__
        self.reads, self.each, self.trains = reads, each, trains
        self.output = cast(type[R], hints.pop("return"))
        self.inputs = {name: _input(hint) for name, hint in hints.items() if hint is not StageRun}
        self.__doc__ = function.__doc__
        self._function = function

    def execute(self, item: str = "") -> None:
        """Run the stage in this process, as ``python -m tasks <name> [item]`` does.

        Args:
            item: Name of the method, row or autoencoder, for a stage that runs once for each.

        Raises:
            MissingInputError: An input is not published.
            AlreadyRunningError: Another process runs this stage.
            HsipipeError: Any error of the stage; nothing is published.
        """
        from hsipipe.locks import hold
        from hsipipe.storage.publish import publish
        from tasks.tracking import stage_run

        root, begun = find_root(), time.monotonic()
        params = load_params(root / PARAMS)
        if (before := remembered(root, self.label(item))) is not None:
            logger.info("%s: last took %s", self.label(item), duration(before))
        if _CHECKED & set(self.reads):
            check_names(params)
        view, label = ParamsView(params, reads=self.reads, stage=self.name), self.label(item)
        with ExitStack() as stack:
            stack.enter_context(hold(locks(root) / f"{label}.lock", what=f"Stage {label}"))
            inputs, digests = self._find_inputs(root, params, item)
            visible = view.tree(item)
            work = root / ".hsipipe" / "work" / label / _key(visible, digests)
            work.mkdir(parents=True, exist_ok=True)
            run = stage_run(root, label, params=params, visible=visible, digests=digests, system_metrics=self.trains)
            tracker = stack.enter_context(run)
            target = self.output.in_project(root, item).path
            with publish(target) as out:
                run_here = StageRun(cast(Params, view), root, item, out, work, tracker)
                self._function(run_here, **inputs)
                if run_here.curve:
                    _draw(run_here)
            self._write_numbers(run_here)
            tracker.finish(target, run_here.summary)
        shutil.rmtree(work, ignore_errors=True)
        took = time.monotonic() - begun
        remember(root, label, took)
        logger.info("%s: done in %s%s", label, duration(took), _key_number(run_here.summary))

    def label(self, item: str = "") -> str:
        """Return the name of the stage and its item: ``train@edsr``."""
        return f"{self.name}@{item}" if item else self.name

    def _find_inputs(self, root: Path, params: Params, item: str) -> tuple[dict[str, Any], dict[str, str]]:
        from hsipipe.storage.manifest import digest, verify

        inputs: dict[str, Any] = {}
        digests: dict[str, str] = {}
        for name, given in self.inputs.items():
            found = []
            for one in self._items(given, params, item):
                artifact = given.kind.in_project(root, one)
                where = artifact.path.relative_to(root).as_posix()
                try:
                    # Check only names and sizes: DVC has compared the content, and a store can be large.
                    verify(artifact.path, content=False)
                except FileNotFoundError as error:
                    raise MissingInputError(
                        f"Stage {self.label(item)} needs {where}, which is not there; run: python -m tasks repro"
                    ) from error
                found.append(artifact)
                digests[where] = digest(artifact.path)
            inputs[name] = found if given.many else next(iter(found), None)
        return inputs, digests

    def _items(self, given: Input, params: Params, item: str) -> list[str]:
        """Return the items of an input: those of all rows, or the one for the item of this stage."""
        from hsipipe.methods.catalogue import entry

        if given.many:
            return [row.name for row in all_rows(params)]
        if self.each != "method":
            return [item]
        row = Row.parse(item)
        if not given.optional:
            return [row.trained]
        line = entry(row.method)
        source = line.mean if given.kind is TrainedMethod else line.autoencoder
        return [] if source is None else [source]

    def _write_numbers(self, run: StageRun) -> None:
        from hsipipe.storage.publish import write_text

        # Numbers only, since DVC shows every key as a column; text is stored in MLflow as tags.
        numbers = {name: value for name, value in run.summary.items() if not isinstance(value, str)}
        texts = dict(run.texts)
        if self.each is None and self.name != "compare":  # the numbers of compare are the result table
            texts[summary_path(self.name)] = json.dumps(numbers, indent=2) + "\n"
        if self.trains:
            texts[curve_path(self.name, run.item)] = run.curve.csv()
        for path, text in texts.items():
            write_text(run.root / path, text)


def _key_number(summary: Summary) -> str:
    """Return the number to show of a stage: a PSNR, else a count, else the first one; empty without any."""
    numbers = {name: value for name, value in summary.items() if not isinstance(value, str)}
    for kind in (*_KEY_NUMBERS, ""):
        for name, value in numbers.items():
            if kind in name:
                return f", {name} {value:.6g}"
    return ""


def stage(
    *, reads: tuple[str, ...], each: Each | None = None, trains: bool = False
) -> Callable[[Callable[..., R]], Stage[R]]:
    """Make a function a stage of the pipeline, with the name of the function.

    Args:
        reads: Groups of params.yaml that it can access.
        each: Run it once per method (or row) of the table, or once per autoencoder.
        trains: It logs a curve, and MLflow records its use of CPU and GPU.
    """

    def decorate(function: Callable[..., R]) -> Stage[R]:
        return Stage(function, reads=reads, each=each, trains=trains)

    return decorate


def _input(hint: Any) -> Input:
    if get_origin(hint) is list:
        return Input(get_args(hint)[0], many=True, optional=False)
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    return Input(kinds[0] if kinds else hint, many=False, optional=bool(kinds))


def _draw(run: StageRun) -> None:
    from hsipipe.evaluation.figures import save, training_curves

    table, picture = run.work / "curve.csv", run.work / "curve.png"
    table.write_text(run.curve.csv(), encoding="utf-8")
    figure = training_curves(table)
    if figure is not None:
        save(figure, picture)
        run.log_figure(picture)


def _key(visible: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """Return a key of the stage's work: the params that it reads, its inputs, and the code of the library."""
    import hsipipe

    code = hashlib.sha256()
    package = Path(hsipipe.__file__).parent
    for path in sorted(package.rglob("*.py")):
        code.update(f"{path.relative_to(package).as_posix()}\0".encode())
        code.update(path.read_bytes())
    content = {"params": visible, "inputs": dict(digests), "code": code.hexdigest()}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
