"""The command line ``hsipipe``: its commands in order, those of the pipeline added by ``flows``."""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import typer

from hsipipe.commands import batch, data, look, models, settings, sharpen, workspace
from hsipipe.commands.pipeline_extra import Absent, NeedsPipeline, own_pipeline
from hsipipe.commands.version import VersionOption
from hsipipe.exits import guarded
from hsipipe.proxies import spare_local_servers

USE, LOOK, TRAIN, OPERATE = "Use a model", "Look at data", "Train and compare", "Operate"


class Command(NamedTuple):
    """A command of ``hsipipe``.

    Attributes:
        panel: Heading under which the help lists it.
        run: Its function; None: ``flows`` has it.
        summary: Line of the help where the pipeline is not installed, for a command of ``flows``.
    """

    panel: str
    run: Callable[..., Any] | None = None
    summary: str = ""


COMMANDS: Mapping[str, Command] = {
    "sharpen": Command(USE, sharpen.sharpen),
    "predict": Command(USE, models.predict),
    "predict-batch": Command(USE, batch.predict_batch),
    "model-server": Command(USE, models.model_server),
    "info": Command(LOOK, data.info),
    "pair": Command(LOOK, sharpen.pair),
    "view": Command(LOOK, look.view),
    "quicklook": Command(LOOK, look.quicklook),
    "datasets": Command(LOOK, data.datasets),
    "download": Command(LOOK, data.download),
    "init": Command(TRAIN, workspace.init),
    "pipeline": Command(TRAIN, summary="Run every stale stage as a Prefect flow."),
    "sweep": Command(TRAIN, summary="Run the pipeline with a named set of overrides, then print the result table."),
    "tables": Command(TRAIN, summary="Run a table of a paper, and print it beside the paper's numbers."),
    "methods": Command(TRAIN, settings.methods),
    "preset": Command(TRAIN, settings.preset),
    "protocol": Command(TRAIN, settings.protocol),
    "compare": Command(TRAIN, settings.compare),
    "retrain": Command(OPERATE, summary="Ingest new scenes, run stale stages, and promote a better model."),
    "serve": Command(OPERATE, summary="Run the pipeline on a schedule until interrupted."),
    "models": Command(OPERATE, summary="List the registered models, or the versions of one model."),
    "rollback": Command(OPERATE, summary="Make the previous champion the champion again."),
    "promote": Command(OPERATE, summary="Make a version the champion by hand, without the gate."),
    "reconcile": Command(OPERATE, summary="Close the runs of killed processes in Prefect and in MLflow."),
}
"""All commands, in the order of the help."""


def make_app(pipeline: Mapping[str, Callable[..., Any]]) -> typer.Typer:
    """Return the command line.

    Args:
        pipeline: The functions of the commands of the pipeline by name; a command without one says how to install it.
    """
    app = typer.Typer(
        name="hsipipe",
        help="Hyperspectral image super-resolution: use models, look at cubes, run the pipeline.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def options(version: VersionOption = False) -> None:
        pass

    for name, command in COMMANDS.items():
        if command.run is not None:
            app.command(name, rich_help_panel=command.panel)(command.run)
        elif name in pipeline:
            app.command(name, rich_help_panel=command.panel, cls=NeedsPipeline)(pipeline[name])
        else:
            app.command(name, rich_help_panel=command.panel, cls=Absent, help=command.summary)(lambda: None)
    return app


def run(app: typer.Typer) -> int:
    """Run the command line; return the exit code. Progress without a terminal has its lines on stderr."""
    # The library alone: Prefect has handlers for its own messages.
    logger = logging.getLogger("hsipipe")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler())
    spare_local_servers()
    return guarded(app)


def main() -> None:
    """Entry point of ``hsipipe``."""
    app = make_app({}) if (flows := own_pipeline()) is None else flows.app
    sys.exit(run(app))
