"""A function as a stage of the pipeline: ``python -m tasks <name>`` runs it.

A stage is written as a function of its input artifacts that returns its output artifact::

    @stage(reads=("split", "degradation"))
    def degrade(run: StageRun, scenes: RawScenes) -> DegradedPairs: ...

The annotations are the edges of the pipeline; ``reads`` are the groups of params.yaml that it sees, and no other.
dvc.yaml and tasks/dvc.yaml say both once more for DVC, and a contract test compares them. A stage that runs once for
each method or autoencoder gets its name as ``run.item``; an input ``X | None`` is there for latent methods alone.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from hsipipe.artifacts import Artifact
from hsipipe.errors import MissingInputError, ParamsError
from hsipipe.params import Params, load_params
from tasks.running.check_names import check_names
from tasks.running.curve import Curve
from tasks.running.project import PARAMS, curve_path, find_root, locks, summary_path
from tasks.running.rows import Row, all_rows

if TYPE_CHECKING:
    from tasks.tracking import StageTracker

R = TypeVar("R", bound=Artifact)
A = TypeVar("A", bound=Artifact)
Each = Literal["method", "autoencoder"]
Summary = Mapping[str, float | int | str]
_CHECKED = {"dataset", "degradation", "protocol", "split"}
"""Groups whose names are checked by the stages that read them; the check imports what other stages do not need."""


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

    def tree(self, item: str) -> dict[str, Any]:
        """The visible groups as plain values; of the groups with one entry a method or autoencoder, the item's own."""
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
    """The surroundings of a running stage.

    Attributes:
        params: The groups of params.yaml that the stage reads.
        root: The project.
        item: The method, autoencoder or row; empty for a stage that runs once.
        out: Empty folder to fill; it is published when the stage ends well.
        work: Folder that survives a kill and is the same for the same inputs, params and code.
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
        return kind.in_project(self.root, self.item)


@dataclass(frozen=True)
class Input:
    """A parameter of a stage's function.

    Attributes:
        kind: Type of the artifact.
        many: One for each row of the table.
        optional: None where the method reads no latents.
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
        """Run the stage here and now, as ``python -m tasks <name> [item]`` does.

        Args:
            item: Name of the method, row or autoencoder, for a stage that runs once for each.

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

    def label(self, item: str = "") -> str:
        """The stage and its item, as DVC names it: ``train@edsr``."""
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
                    # Names and sizes alone: DVC has compared the bytes, and a store can be large.
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
        """The items of an input: those of all rows, or the one that belongs to this stage's item."""
        from hsipipe.methods.catalogue import entry

        if given.many:
            return [row.name for row in all_rows(params)]
        if self.each != "method":
            return [item]
        row = Row.parse(item)
        if not given.optional:
            return [row.trained]
        autoencoder = entry(row.method).autoencoder
        return [] if autoencoder is None else [autoencoder]

    def _write_numbers(self, run: StageRun) -> None:
        from hsipipe.storage.publish import write_text

        # Numbers alone: DVC shows every key as a column. What is text stands in MLflow as a tag.
        numbers = {name: value for name, value in run.summary.items() if not isinstance(value, str)}
        texts = dict(run.texts)
        if self.each is None and self.name != "compare":  # its numbers are the table
            texts[summary_path(self.name)] = json.dumps(numbers, indent=2) + "\n"
        if self.trains:
            texts[curve_path(self.name, run.item)] = run.curve.csv()
        for path, text in texts.items():
            write_text(run.root / path, text)


def stage(
    *, reads: tuple[str, ...], each: Each | None = None, trains: bool = False
) -> Callable[[Callable[..., R]], Stage[R]]:
    """Make a function a stage of the pipeline, under the function's name.

    Args:
        reads: Groups of params.yaml that it sees.
        each: It runs once for each method (or row) of the table, or for each autoencoder.
        trains: It logs a curve, and its use of CPU and GPU is recorded.
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
    """Names the work of a stage: params that it reads, inputs, and the code of the library."""
    import hsipipe

    code = hashlib.sha256()
    package = Path(hsipipe.__file__).parent
    for path in sorted(package.rglob("*.py")):
        code.update(f"{path.relative_to(package).as_posix()}\0".encode())
        code.update(path.read_bytes())
    content = {"params": visible, "inputs": dict(digests), "code": code.hexdigest()}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
