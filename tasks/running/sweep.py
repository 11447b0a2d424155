"""Sweeps: which points there are, which of them are finished, running one, and writing what came out.

A finished point is a JSON file, ``.hsipipe/sweeps/<sweep>/<key>.json``; the key is the hash of everything that decides
its numbers. So a sweep that was killed goes on where it stopped, and one after a change of code starts afresh.
"""

import hashlib
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hsipipe.artifacts import RawScenes
from hsipipe.errors import ParamsError, StageFailedError
from hsipipe.evaluation.sweep_table import (
    PointResult,
    as_csv,
    as_markdown,
    check_comparable,
    render_spread,
    render_sweep,
    sweep_tree,
)
from hsipipe.params import Params
from hsipipe.sweeps import Sweep, load_sweep, select
from tasks.running import dvc, saved_checkout
from tasks.running.overrides import as_overrides, flatten
from tasks.running.pipeline_run import SWEEP_RUN
from tasks.running.project import METRICS, PARAMS, summary_path

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

_FORMAT = 2
"""Raised where results of before must not be taken for finished ones."""
_PROTOCOL = ("dataset", "split", "degradation", "protocol")
"""Groups of params.yaml that a protocol is made of."""


@dataclass(frozen=True)
class Point:
    """One run of the pipeline that a sweep asks for.

    Attributes:
        label: Its name in the table.
        settings: What it sets, by dotted names.
        overrides: All of its ``group.key=value``, those of every point included.
        key: Hash of its name, parameters, code and scenes.
        params: What it runs with.
    """

    label: str
    settings: dict[str, Any]
    overrides: tuple[str, ...]
    key: str
    params: Params


@dataclass(frozen=True)
class Plan:
    """What a sweep is going to do in a project.

    Attributes:
        root: The project.
        sweep: The definition.
        params: Without what the points change.
        points: Those that fit the data.
        skipped: One sentence for each that does not.
    """

    root: Path
    sweep: Sweep
    params: Params
    points: tuple[Point, ...]
    skipped: tuple[str, ...]

    @property
    def key(self) -> str:
        """Names the whole of it."""
        return _hash([point.key for point in self.points])

    @property
    def out(self) -> Path:
        """Where table and figure go."""
        return self.root / "reports" / "sweeps" / self.sweep.name


def plan_sweep(root: Path, name: str, overrides: Sequence[str] = ()) -> Plan:
    """Check a sweep's points against the project; runs nothing.

    Args:
        root: The project.
        name: A name of :mod:`hsipipe.sweeps`, or the path of a ``.yaml`` file.
        overrides: ``group.key=value`` for all points, before what a point itself sets.

    Raises:
        UnknownNameError: There is no such sweep.
        ParamsError: A point's parameters do not fit, or the points would follow different protocols.
    """
    sweep = load_sweep(name)
    params, _ = dvc.changed_params(root, overrides)
    framing = {key for point in sweep.points for key in point.set if key.partition(".")[0] in _PROTOCOL}
    if framing:
        raise ParamsError(
            f"The points of the sweep {sweep.name} set {', '.join(sorted(framing))}, so their results would follow "
            "different protocols and cannot share a table; give it with -S, in one sweep for each value."
        )
    selection = select(sweep, _bands(params))
    if not selection.points:
        raise ParamsError(f"No point of the sweep {sweep.name} fits the data: {' '.join(selection.skipped)}")
    # DVC leaves params.yaml as the point before has it, so each point says what any of them sets.
    swept = {key for point in selection.points for key in flatten(point.set)}
    before = {key: value for key, value in flatten(params.model_dump(mode="json")).items() if key in swept}
    decides, points = [_FORMAT, sweep.name, _code_digest(root), dvc.out_hashes(root).get(RawScenes.LOCATION)], []
    for point in selection.points:
        every = (*overrides, *as_overrides({**before, **flatten(point.set)}))
        effective, _ = dvc.changed_params(root, every)
        identity = [*decides, point.label, effective.model_dump(mode="json")]
        points.append(Point(point.label, dict(point.set), every, _hash(identity), effective))
    return Plan(root, sweep, params, tuple(points), selection.skipped)


def refuse_swept(name: str, overrides: Sequence[str]) -> None:
    """Refuse overrides that would be without effect.

    Raises:
        ParamsError: One is of a parameter that the sweep's points set themselves.
    """
    sweep = load_sweep(name)
    taken = {key for point in sweep.points for key in point.set}
    mine = {item.partition("=")[0].lstrip("+~") for item in overrides}
    if both := sorted(taken & mine):
        raise ParamsError(f"The points of the sweep {sweep.name} set {', '.join(both)} themselves; leave it out of -S.")


def finished(plan: Plan, point: Point) -> PointResult | None:
    """The result of a point that has run; None if it has not."""
    try:
        tree = json.loads(_result_path(plan, point).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return PointResult(point.label, point.settings, tree["metrics"], tree["groups"])


def results(plan: Plan) -> list[PointResult]:
    """Those of all finished points, in the order of the sweep."""
    found = (finished(plan, point) for point in plan.points)
    return [result for result in found if result is not None]


def run_point(plan: Plan, point: Point, *, sweep_run_id: str, on_line: Callable[[str], object]) -> PointResult:
    """Run a point as an experiment of DVC, unless it is finished, and keep its numbers.

    Raises:
        StageFailedError: With the failing stage's own message.
        ParamsError: params.yaml no longer says what the sweep was planned with.
    """
    from hsipipe.storage.publish import write_text

    if (known := finished(plan, point)) is not None:
        on_line(f"{point.label}: finished earlier")
        return known
    # DVC refuses a name that there is, and one of a run that was killed at its end may be there.
    name = f"sweep-{plan.sweep.name}-{_slug(point.label)}-{uuid.uuid4().hex[:6]}"
    if dvc.changed_params(plan.root, point.overrides)[0] != point.params:
        raise ParamsError(f"{PARAMS} was changed since the sweep began; start the sweep again to run {point.label}.")
    try:
        dvc.experiment(plan.root, name, overrides=point.overrides, env={SWEEP_RUN: sweep_run_id}, on_line=on_line)
    except StageFailedError:
        # DVC may have died in the middle of it; the next point must not start in what that left.
        for sentence in saved_checkout.restore(plan.root):
            logger.warning(sentence)
        saved_checkout.save(plan.root)
        raise
    metrics = json.loads((plan.root / METRICS).read_text(encoding="utf-8"))
    gae = json.loads((plan.root / summary_path("train_gae")).read_text(encoding="utf-8"))
    tree = {
        "sweep": plan.sweep.name,
        "point": point.label,
        "overrides": list(point.overrides),
        "experiment": name,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "groups": gae.get("groups"),
        "metrics": metrics,
    }
    write_text(_result_path(plan, point), json.dumps(tree, indent=1) + "\n")
    return PointResult(point.label, point.settings, metrics, tree["groups"])


@contextmanager
def kept_workspace(plan: Plan) -> Iterator[None]:
    """Leave params.yaml, dvc.lock, outputs, HEAD and index as they are before the body (:mod:`.saved_checkout`)."""
    if all(finished(plan, point) for point in plan.points):
        yield
        return
    saved_checkout.save(plan.root)
    try:
        yield
    finally:
        for sentence in saved_checkout.restore(plan.root):
            logger.warning(sentence)
        if not (plan.root / saved_checkout.LOCK).exists():
            logger.warning("There was no dvc.lock before; data/, models/ and reports/ hold the last point's outputs.")
        elif not dvc.checkout(plan.root, on_line=logger.info):
            logger.warning("Not every output could be put back; run: dvc repro")


def write_results(plan: Plan) -> list[Path]:
    """Write table (Markdown, CSV, JSON) and figure of the finished points.

    Raises:
        DataError: They follow different protocols.
    """
    from hsipipe.evaluation.figures import save
    from hsipipe.evaluation.sweep_figure import sweep_figure
    from hsipipe.storage.publish import atomic_file, write_text

    done, sweep = results(plan), plan.sweep
    if not done:
        return []
    check_comparable(done)
    texts = {
        "table.md": as_markdown(sweep.title, done, spread=sweep.figure.kind == "spread"),
        "table.csv": as_csv(done),
        "table.json": json.dumps(sweep_tree(sweep.title, done), indent=1, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        write_text(plan.out / name, text)
    with atomic_file(plan.out / "figure.png") as temporary, temporary.open("wb") as file:
        save(sweep_figure(sweep.title, sweep.figure, done), file)
    return [plan.out / name for name in (*texts, "figure.png")]


def shown(plan: Plan) -> "Table | None":
    """The table of the finished points for a terminal; None if there is none."""
    done = results(plan)
    if not done:
        return None
    render = render_spread if plan.sweep.figure.kind == "spread" else render_sweep
    return render(plan.sweep.title, done)


def _result_path(plan: Plan, point: Point) -> Path:
    return plan.root / ".hsipipe" / "sweeps" / plan.sweep.name / f"{point.key}.json"


def _bands(params: Params) -> int | None:
    from hsipipe.datasets.catalogue import DATASETS

    if params.dataset.name == "synthetic":
        return params.dataset.synthetic.bands
    facts = DATASETS[params.dataset.name]
    return None if facts.bands is None else facts.bands - len(facts.drop_bands)


def _code_digest(root: Path) -> str:
    """Of dvc.yaml and of every code dependency that it names."""
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    stages = yaml.safe_load(text)["stages"].values()
    named = {dep for stage in stages for dep in stage.get("deps", [])}
    digest = hashlib.sha256(text.encode())
    for dep in sorted(name for name in named if name.startswith(("hsipipe/", "tasks/"))):
        place = root / dep
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _hash(identity: Any) -> str:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-").lower()
