"""Running the pipeline: pipeline, sweep, serve, reconcile."""

import math
import os
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import Override, check_timeout, preset_overrides, show

if TYPE_CHECKING:
    from rich.table import Table


def pipeline(
    set_param: Override = None,
    preset: Annotated[str | None, typer.Option(help="A named configuration; -S goes on top of it.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Minutes after which the run is ended.")] = None,
) -> None:
    """Run every stage that is stale, as a Prefect flow.

    [bold]Examples[/bold]

      hsipipe pipeline

      hsipipe pipeline -S degradation.scale=2 -S sampling.steps=2

      hsipipe pipeline --preset dmgasr-paper --timeout 600
    """
    from flows.prefect_support.environment import prepare, require_server
    from flows.prefect_support.zombie_runs import close_and_tell
    from tasks.running.dvc import changed_params
    from tasks.running.project import find_root

    check_timeout(timeout)
    root = find_root()
    overrides = [*preset_overrides(preset), *(set_param or [])]
    changed_params(root, overrides)  # a wrong key should not cost the start of Prefect
    prepare(root)
    require_server()
    close_and_tell(root)
    from flows.pipeline import pipeline as run

    run(overrides, timeout)


def sweep(
    name: Annotated[str | None, typer.Argument(help="A sweep, or a .yaml file with one; left out: list them.")] = None,
    set_param: Annotated[
        list[str] | None,
        typer.Option("-S", "--set-param", metavar="GROUP.KEY=VALUE", help="Another parameter of all points."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A named configuration; -S goes on top of it.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Minutes after which the sweep is ended.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop at the first point that fails.")] = False,
) -> None:
    """Run the pipeline at several points, one after another, and compare them in one table and one figure.

    Each point is a `dvc exp run` in this checkout, which nothing else may use meanwhile; `dvc exp show` lists them.
    What a point shares with an earlier run comes out of DVC's cache. Started again after an interruption, finished
    points are skipped. A failing point is told and the others go on; the exit code is then 1.

    Afterwards params.yaml, dvc.lock, outputs and uncommitted changes are what they were before, after a kill at the
    next start of this command, of `hsipipe pipeline` or `make repro`. Models of points do not go into the registry.
    Table and figure are in reports/sweeps/NAME.

    [bold]Examples[/bold]

      hsipipe sweep ablations

      hsipipe sweep steps -S dataset.name=cave -S dataset.root=/data/cave

      hsipipe sweep groups --preset dmgasr-paper --timeout 600
    """
    from flows.prefect_support.environment import prepare, require_server
    from flows.prefect_support.zombie_runs import close_and_tell
    from tasks.running.pipeline_run import pipeline_session
    from tasks.running.project import find_root
    from tasks.running.sweep import plan_sweep, refuse_swept, shown

    if name is None:
        show(_sweep_table())
        return
    check_timeout(timeout)
    root = find_root()
    overrides = [*preset_overrides(preset), *(set_param or [])]
    refuse_swept(name, set_param or [])
    with pipeline_session(root):  # puts right what a killed sweep has left, before Prefect is started in vain
        plan = plan_sweep(root, name, overrides)
    prepare(root)
    require_server()
    close_and_tell(root)
    from flows.sweep import sweep as run

    try:
        run(name, overrides, timeout, stop)
    finally:
        if (table := shown(plan)) is not None:
            show(table)
            if (plan.out / "table.md").is_file():
                typer.echo(f"table and figure: {plan.out}")


def serve(
    interval: Annotated[float | None, typer.Option(help="Seconds between two runs.")] = None,
    cron: Annotated[str | None, typer.Option(help="When to run, as five cron fields.")] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="With inbox, gate and promotion.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Minutes after which a run is ended.")] = None,
) -> None:
    """Run the pipeline on a schedule, until interrupted; with --retrain promote what it makes if it is better.

    Every night at 2:00 unless an option says otherwise. A run that falls due while another is going on is skipped.

    The Prefect server is that of PREFECT_API_URL, or one that is started on this machine.

    [bold]Examples[/bold]

      hsipipe serve --cron "0 2 * * *"

      hsipipe serve --interval 3600

      hsipipe serve --retrain --timeout 480
    """
    check_timeout(timeout)
    if interval is not None and cron is not None:
        raise typer.BadParameter("Give --interval or --cron, not both.")
    if interval is not None and not (math.isfinite(interval) and interval > 0):
        raise typer.BadParameter(f"--interval must be a positive number of seconds, got {interval}.")
    from flows.prefect_support.environment import prepare, require_server
    from flows.prefect_support.zombie_runs import close_and_tell
    from flows.schedule import check_cron, server
    from flows.schedule import serve as run
    from hsipipe.credentials import without_credentials
    from tasks.running.project import find_root

    root = find_root()
    prepare(root)
    require_server()
    schedule = cron or (None if interval else "0 2 * * *")
    check_cron(schedule)
    with server(root) as api:
        os.environ["PREFECT_API_URL"] = api
        typer.echo(f"Prefect server: {without_credentials(api)}")
        close_and_tell(root)
        run("retrain" if retrain else "pipeline", interval_s=interval, cron=schedule, timeout_minutes=timeout)


def reconcile() -> None:
    """Close what killed processes have left open: runs in Prefect, with the slots that they hold, and in MLflow.

    Only runs of this machine whose process is gone; the next pipeline, sweep or serve does the same by itself. A run
    whose Prefect server does not answer stays for later, and the exit code is then 1.

    [bold]Example[/bold]

      hsipipe reconcile
    """
    from flows.prefect_support.environment import prepare
    from flows.prefect_support.zombie_runs import reconcile_all
    from tasks.running.project import find_root

    root = find_root()
    prepare(root)
    reconcile_all(root, say=typer.echo)


def _sweep_table() -> "Table":
    """Name, title and points of every sweep."""
    from rich import box
    from rich.table import Table

    from hsipipe.sweeps import load_sweep, sweep_names

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "title", "points"):
        table.add_column(heading, overflow="fold")
    for name in sweep_names():
        sweep = load_sweep(name)
        table.add_row(name, sweep.title, ", ".join(point.label for point in sweep.points))
    return table
