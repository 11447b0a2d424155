"""Run the tables of papers: tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.pipeline import note_repeated, run_pipeline
from hsipipe.commands.options import Override, Timeout, show
from hsipipe.errors import ParamsError

if TYPE_CHECKING:
    from rich.table import Table

    from flows.tables.paper_tables import PaperTable, Part
    from hsipipe.params import Params


def tables(
    name: Annotated[str | None, typer.Argument(help="Name of a table; without it: list the tables.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only list what it needs, and what is missing; exit code 1 if anything is.")
    ] = False,
    results: Annotated[bool, typer.Option("--show", help="Only print the results so far.")] = False,
    root: Annotated[
        list[str] | None,
        typer.Option(metavar="DATASET=FOLDER", help="Folder of a data set; repeatable. Without it: the download."),
    ] = None,
    set_param: Override = None,
    stop_after: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", help="Then save the training's resume point and stop with exit code 85."),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Run a table of a paper, one pipeline for each data set and scale, and print it beside the paper's numbers.

    The same command resumes: finished stages are taken from DVC's cache, a training continues at its resume point.
    params.yaml is as before after each pipeline.

    [bold]Examples[/bold]

      hsipipe tables

      hsipipe tables dmgasr-1 --check

      hsipipe tables hsrdiff-1 --root cave=/data/cave --stop-after 600
    """
    from flows.tables.paper_tables import paper_table

    if name is None:
        _refuse_options(check, results, root, set_param, stop_after)
        show(_list())
        return
    table = paper_table(name)
    if results:
        _print_tables(table, table.titles(), set_param or [])
        return
    note_repeated(set_param)
    runs = list(_overrides(table, root or [], set_param or []))
    if check:
        _print_check(table, runs)
        return
    _run(table, runs, set_param or [], stop_after, timeout)


def _run(
    table: "PaperTable",
    runs: "list[tuple[Part, list[str]]]",
    own: list[str],
    stop_after: float | None,
    timeout: float | None,
) -> None:
    from flows.tables.results import keep
    from hsipipe.checkout import find_root
    from hsipipe.training.deadline import limit_command, positive_minutes
    from tasks.running.pipeline_run import pipeline_session
    from tasks.running.project import read_metrics

    project = find_root()
    with pipeline_session(project):  # undoes what a killed run has left, against which the overrides may not fit
        for part, overrides in runs:
            _params(project, part, overrides)  # refuses a wrong value before the first of many hours
    if stop_after is not None:
        limit_command(positive_minutes(f"{stop_after}"))
    for number, (part, overrides) in enumerate(runs):
        typer.echo(f"{table.name}: {part.title}, pipeline {number + 1} of {len(runs)}")
        with _params_kept(project, overrides, timeout):
            run_pipeline(overrides, timeout)
            keep(project, table, part, read_metrics(project), own=own)
        if part.title not in (later.title for later, _ in runs[number + 1 :]):
            _print_tables(table, [part.title], own)


def _print_check(table: "PaperTable", runs: "list[tuple[Part, list[str]]]") -> None:
    from flows.tables.check import check
    from hsipipe.checkout import find_root

    project = find_root()
    typer.echo(f"{table.name}: {table.title} ({table.paper})")
    missing = False
    for finding in check([(part, _params(project, part, overrides)) for part, overrides in runs]):
        typer.echo(finding.line())
        missing = missing or finding.missing
    if missing:
        raise typer.Exit(1)


def _overrides(table: "PaperTable", folders: list[str], own: list[str]) -> "Iterator[tuple[Part, list[str]]]":
    """Yield each run with its overrides; those of the user come last."""
    from flows.tables.paper_tables import roots
    from hsipipe.params.overrides import as_overrides

    given = roots(folders, table)
    for part in table.parts:
        root = as_overrides({"dataset": {"root": given[part.dataset]}}) if part.dataset in given else []
        yield part, [*part.overrides(), *root, *own]


def _params(project: Path, part: "Part", overrides: list[str]) -> "Params":
    from tasks.running.dvc import changed_params

    try:
        return changed_params(project, overrides)[0]
    except ParamsError as error:
        raise ParamsError(f"{part.title}: {error}") from error


@contextmanager
def _params_kept(project: Path, overrides: list[str], timeout: float | None) -> Iterator[None]:
    """Undo the overrides of a run that succeeded, too: those of one part must not reach the next.

    A run that fails undoes them itself. An edit that was made during the run is kept.
    """
    from hsipipe.checkout import PARAMS
    from hsipipe.storage.publish import write_text
    from tasks.running.dvc import changed_params
    from tasks.running.pipeline_run import pipeline_session

    # No other pipeline may have its overrides in the file now.
    with pipeline_session(project, timeout_s=None if timeout is None else 60 * timeout):
        before, during = (project / PARAMS).read_text(encoding="utf-8"), changed_params(project, overrides)[1]
        yield
        if (project / PARAMS).read_text(encoding="utf-8") == during:
            write_text(project / PARAMS, before)
        else:
            typer.echo(f"note: {PARAMS} was edited during the run and is kept, with the overrides of the run", err=True)


def _print_tables(table: "PaperTable", titles: list[str], own: list[str]) -> None:
    from flows.tables.results import beside, footnote, kept
    from hsipipe.checkout import find_root

    for title in titles:
        show(beside(table, title, kept(find_root(), table, title, own=own), own=own))
    typer.echo(footnote(table))


def _list() -> "Table":
    from rich.table import Table

    from flows.tables.paper_tables import paper_tables

    shown = Table("table", "title", "paper", box=None, pad_edge=False)
    for table in paper_tables().values():
        shown.add_row(table.name, table.title, table.paper.partition(",")[0])
    return shown


def _refuse_options(*given: object) -> None:
    if any(given):
        raise typer.BadParameter("Give the name of a table with these options; hsipipe tables lists the names.")
