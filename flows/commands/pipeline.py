"""Run the pipeline: pipeline, sweep, serve, reconcile."""

import math
import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml

from hsipipe.commands.named_overrides import named_overrides
from hsipipe.commands.options import Override, Preset, Protocol, Timeout, check_timeout, show
from hsipipe.errors import UnknownNameError

if TYPE_CHECKING:
    from rich.table import Table

_SWEEPS = Path(__file__).with_name("sweeps.yaml")


def pipeline(
    set_param: Override = None, preset: Preset = None, protocol: Protocol = None, timeout: Timeout = None
) -> None:
    """Run every stale stage as a Prefect flow.

    Overrides are written into params.yaml. They stay after a run that succeeded; after any other they are undone.

    [bold]Examples[/bold]

      hsipipe pipeline

      hsipipe pipeline -S degradation.scale=2 -S sampling.steps=2

      hsipipe pipeline --preset dmgasr-paper --timeout 600

      hsipipe pipeline --protocol sspsr -S dataset.name=chikusei -S dataset.root=/data/chikusei
    """
    note_repeated(set_param)
    run_pipeline(named_overrides(preset, protocol, set_param), timeout)


def sweep(
    name: Annotated[str | None, typer.Argument(help="Name of a sweep; without it: list the sweeps.")] = None,
    set_param: Override = None,
    preset: Preset = None,
    protocol: Protocol = None,
    timeout: Timeout = None,
) -> None:
    """Run the pipeline with a named set of overrides, then print the result table.

    The same as `hsipipe pipeline -S ...` with the overrides of the sweep; -S adds to them and takes precedence. All
    stay in params.yaml after a run that succeeded; `git checkout params.yaml` undoes them.

    Stages that an earlier run has made are taken from DVC's cache.

    [bold]Examples[/bold]

      hsipipe sweep

      hsipipe sweep ablations

      hsipipe sweep steps -S dataset.name=cave -S dataset.root=/data/cave
    """
    if name is None:
        show(_sweep_table())
        return
    from hsipipe.params.overrides import as_overrides

    note_repeated(set_param)
    swept = as_overrides(_load_sweep(name)["set"])
    run_pipeline(named_overrides(preset, protocol, [*swept, *(set_param or [])]), timeout)
    _print_results()


def serve(
    interval: Annotated[float | None, typer.Option(help="Seconds between two runs.")] = None,
    cron: Annotated[str | None, typer.Option(help="Schedule, as five cron fields.")] = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Run hsipipe retrain instead: inbox, gate and promotion.")
    ] = False,
    timezone: Annotated[
        str | None, typer.Option(help="Time zone of --cron, such as Europe/Berlin; default: that of this machine.")
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Run the pipeline on a schedule until interrupted; with --retrain, promote better models.

    The default schedule is every night at 2:00, local time. A run due while another is running is skipped.

    Uses the Prefect server of PREFECT_API_URL, else starts one on this machine.

    [bold]Examples[/bold]

      hsipipe serve --cron "0 2 * * *"

      hsipipe serve --cron "0 2 * * *" --timezone UTC

      hsipipe serve --interval 3600

      hsipipe serve --retrain --timeout 480
    """
    check_timeout(timeout)
    if interval is not None and cron is not None:
        raise typer.BadParameter("Give --interval or --cron, not both.")
    if interval is not None and timezone is not None:
        raise typer.BadParameter("--timezone belongs to --cron; an interval has none.")
    if interval is not None and not (math.isfinite(interval) and interval > 0):
        raise typer.BadParameter(f"--interval must be a positive number of seconds, got {interval}.")
    from flows.prefect_support.environment import prepare, require_server
    from flows.prefect_support.zombie_runs import close_and_tell
    from flows.schedule import check_cron, local_timezone, server
    from flows.schedule import serve as run
    from hsipipe.checkout import find_root
    from hsipipe.credentials import without_credentials
    from hsipipe.exits import hang_up_as_terminate

    hang_up_as_terminate()
    root = find_root()
    prepare(root)
    schedule = cron or (None if interval else "0 2 * * *")
    if schedule is not None:
        timezone = timezone if timezone is not None else local_timezone()
        check_cron(schedule, timezone)
    require_server()
    with server(root) as api:
        os.environ["PREFECT_API_URL"] = api
        typer.echo(f"Prefect server: {without_credentials(api)}")
        typer.echo(f"Schedule: every {interval:g} s" if schedule is None else f"Schedule: {schedule} in {timezone}")
        close_and_tell(root)
        name: Literal["pipeline", "retrain"] = "retrain" if retrain else "pipeline"
        run(name, interval_s=interval, cron=schedule, timezone=timezone, timeout_minutes=timeout)


def reconcile(
    elsewhere: Annotated[
        bool,
        typer.Option("--elsewhere", help="Also close runs of other containers and of other machines of this name."),
    ] = False,
) -> None:
    """Close the runs of killed processes in Prefect, with their deployment slots, and in MLflow.

    Closes only runs of this machine or container whose process is gone; the next pipeline, sweep or serve does the
    same. If a server does not answer, its runs stay open and the exit code is 1.

    Runs of another container or machine are named and stay open, since their process cannot be judged from here.

    [bold]Example[/bold]

      hsipipe reconcile
    """
    from flows.prefect_support.environment import prepare
    from flows.prefect_support.zombie_runs import reconcile_all
    from hsipipe.checkout import find_root

    root = find_root()
    prepare(root)
    reconcile_all(root, elsewhere=elsewhere, say=typer.echo)


def run_pipeline(overrides: list[str], timeout: float | None) -> None:
    """Run the flow with overrides, after what must be checked before Prefect starts."""
    from flows.prefect_support.environment import prepare, require_server
    from flows.prefect_support.zombie_runs import close_and_tell
    from hsipipe.checkout import find_root
    from hsipipe.exits import hang_up_as_terminate
    from tasks.running.dvc import changed_params
    from tasks.running.pipeline_run import pipeline_session

    check_timeout(timeout)
    hang_up_as_terminate()
    root = find_root()
    with pipeline_session(root):  # undoes what a killed run has left, against which the overrides may not fit
        changed_params(root, overrides)  # refuses a wrong key before Prefect starts, which takes seconds
    prepare(root)
    require_server()
    close_and_tell(root)
    from flows.pipeline import pipeline as run

    run(overrides, timeout)


def note_repeated(set_param: list[str] | None) -> None:
    """Print a note for each key that is given more than once."""
    from hsipipe.params.overrides import notes_on_repeated

    for note in notes_on_repeated(set_param or []):
        typer.echo(note, err=True)


def _print_results() -> None:
    from rich.console import Console

    from hsipipe.checkout import find_root
    from hsipipe.evaluation.table import print_table
    from tasks.running.project import read_metrics

    print_table(read_metrics(find_root()), Console())


def _sweeps() -> dict[str, dict[str, Any]]:
    tree: dict[str, dict[str, Any]] = yaml.safe_load(_SWEEPS.read_text(encoding="utf-8"))
    return tree


def _load_sweep(name: str) -> dict[str, Any]:
    sweeps = _sweeps()
    if name not in sweeps:
        close = get_close_matches(name, sweeps, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownNameError(f"Unknown sweep {name!r}.{hint} Known sweeps: {', '.join(sorted(sweeps))}.")
    return sweeps[name]


def _sweep_table() -> "Table":
    """Return a table of the sweeps: name and title."""
    from rich.table import Table

    table = Table("sweep", "title", box=None, pad_edge=False)
    for name, sweep in _sweeps().items():
        table.add_row(name, sweep["title"])
    return table
