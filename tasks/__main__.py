"""Run one stage: ``python -m tasks <stage>``; bring the pipeline up to date: ``python -m tasks repro``."""

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from hsipipe.checkout import find_root
from hsipipe.credentials import without_credentials
from hsipipe.errors import HsipipeError, TrainingPausedError, UnreachableError, one_line
from hsipipe.exits import guarded, hang_up_as_terminate, reason
from hsipipe.processes import end_with_parent
from hsipipe.proxies import spare_local_servers
from hsipipe.training.deadline import limit_command, positive_minutes
from tasks.running.project import METRICS, model_name, read_metrics
from tasks.running.stages import EACH, NAMES, STAGES, as_target
from tasks.running.threads import set_spinning


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for name in ("hsipipe", "tasks"):
        logging.getLogger(name).setLevel(logging.INFO)
    spare_local_servers()
    if getattr(options, "stop_after", None) is not None:
        limit_command(options.stop_after)
    if options.command == "repro":
        names = {"preset": options.preset, "protocol": options.protocol}
        return guarded(lambda: repro(options.targets, options.set_param, **names))
    return guarded(lambda: run_stage(options.command, getattr(options, "item", "")))


def run_stage(name: str, item: str = "") -> None:
    """Run one stage, or a task of the retraining that is not a stage.

    It ends when its parent or DVC ends, and writes its error message for the process that called DVC.
    """
    from tasks.running.pipeline_run import PAUSED, UNREACHABLE, error_path
    from tasks.running.process import die_with, dvc_ancestor

    if name in EACH:  # the stages that run networks
        set_spinning()
    work = CHORES[name][0] if name in CHORES else partial(STAGES[name].execute, item)
    signal.signal(signal.SIGTERM, _terminate)
    hang_up_as_terminate()
    end_with_parent(signal.SIGTERM)
    if (dvc := dvc_ancestor()) is not None:
        die_with(dvc)
    try:
        work()
    except Exception as error:
        kinds = {UnreachableError: UNREACHABLE, TrainingPausedError: PAUSED}
        lines = [one_line(reason(error)), *(kind for of, kind in kinds.items() if isinstance(error, of))]
        _leave(error_path(find_root()), without_credentials("\n".join(lines)))
        raise


def gate() -> None:
    """Judge the challenger, and print each condition."""
    from tasks.retraining.gate import judge

    for sentence in judge(find_root()).sentences():
        print(sentence)


def inbox() -> None:
    """Ingest the scenes in the inbox, and print the outcome for each."""
    from tasks.retraining.new_scenes import check_retraining, look_through

    root = find_root()
    check_retraining(root)
    for arrival in look_through(root):
        print(f"{arrival.name}: {arrival.outcome}{f' ({arrival.reason})' if arrival.reason else ''}")


CHORES: Mapping[str, tuple[Callable[[], None], str]] = {
    "gate": (gate, "judge the challenger against the champion of the registry; promotes nothing"),
    "inbox": (inbox, "take in the scenes that wait in inbox.path; hsipipe retrain versions them, too"),
}


def repro(
    targets: Sequence[str], overrides: Sequence[str], *, preset: str | None = None, protocol: str | None = None
) -> None:
    """Bring the pipeline up to date, then print the results."""
    from rich.console import Console

    from hsipipe.artifacts import RegisteredModel, Report
    from hsipipe.artifacts.registration import Registration
    from hsipipe.checkout import PARAMS
    from hsipipe.commands.named_overrides import named_overrides
    from hsipipe.evaluation.table import print_table
    from hsipipe.params import load_params
    from hsipipe.params.overrides import notes_on_repeated
    from tasks.running import dvc

    signal.signal(signal.SIGTERM, _terminate)
    hang_up_as_terminate()
    root = find_root()
    for note in notes_on_repeated(overrides):
        print(note, file=sys.stderr)
    wanted = named_overrides(preset, protocol, overrides)
    dvc.run(root, [as_target(target) for target in targets], overrides=wanted)
    if not (root / METRICS).is_file():
        return
    console = Console()
    print_table(read_metrics(root), console)
    is_registered = False
    places = {"report": Report.in_project(root).path / "index.html", "model": "none is registered yet"}
    if (root / Registration.PATH).is_file():
        entry = Registration.read(root)
        places["model"] = "none is registered: no compared method is trained"
        if is_registered := entry.method is not None:
            places["model"] = f"{RegisteredModel.in_project(root).path} ({entry.method}, which validated best)"
    places |= _places_in_mlflow(root, model_name(load_params(root / PARAMS)), is_registered=is_registered)
    for what, place in places.items():
        console.print(f"{what:9} {place}", highlight=False, soft_wrap=True)


def _places_in_mlflow(root: Path, name: str, *, is_registered: bool) -> dict[str, str]:
    """Return where model and runs are in MLflow; if it cannot be used, a line says so, for the results are complete."""
    from tasks.tracking import how_to_open, registered_uri

    places: dict[str, str] = {}
    try:
        if is_registered:
            missing = f"no {name} in it; run: dvc repro --force --single-item register"
            places["registry"] = registered_uri(root, name) or missing
        places["runs"] = how_to_open(root, name)
    except HsipipeError as error:
        places["runs"] = one_line(error)
    return places


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tasks", description="Run a stage of the pipeline, or all that are stale."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    limit = argparse.ArgumentParser(add_help=False)
    limit.add_argument(
        "--stop-after",
        type=positive_minutes,
        metavar="MINUTES",
        help="then save the training's resume point and stop with exit code 85; the same command resumes",
    )
    for name in NAMES:
        title = f"run the stage {name} in this process, stale or not"
        command = commands.add_parser(name, parents=[limit], help=title)
        if name in EACH:
            command.add_argument("item", metavar=EACH[name], help=f"{EACH[name].lower()} to run it for")
    for name, (_, title) in CHORES.items():
        commands.add_parser(name, help=title)
    everything = commands.add_parser(
        "repro",
        parents=[limit],
        help="run what is stale, then print the result table",
        description="Run what is stale, then print the result table and where report and model are.",
        epilog="Example: python -m tasks repro -S degradation.scale=2",
    )
    everything.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="GROUP.KEY=VALUE",
        help="override a parameter in params.yaml; repeatable, the last value of a key wins; undone if the run fails",
    )
    everything.add_argument("--preset", metavar="NAME", help="named configuration; -S takes precedence")
    everything.add_argument("--protocol", metavar="NAME", help="named protocol; -S takes precedence")
    everything.add_argument("targets", nargs="*", help="stages to bring up to date (default: all)")
    return parser


def _terminate(_number: int, _frame: FrameType | None) -> None:
    # Exit by an exception, so that temporary folders are removed and the MLflow run is closed as KILLED. SIGTERM may
    # arrive twice (from the process group and at the parent's death); the second must not interrupt the cleanup.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def _leave(path: Path, message: str) -> None:
    from hsipipe.storage.publish import write_text

    try:
        write_text(path, message + "\n")
    except OSError:  # a full disk: the message is still printed to stderr
        pass


if __name__ == "__main__":
    sys.exit(main())
