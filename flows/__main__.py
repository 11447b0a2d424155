"""The command line ``hsipipe``, the same as ``python -m flows``."""

import sys

import typer

from flows.commands import data, registry, running, settings, using
from tasks.exits import guarded

app = typer.Typer(
    name="hsipipe",
    help="Hyperspectral image super-resolution: run the pipeline, use its models, look at cubes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

for command in (
    running.pipeline,
    running.sweep,
    registry.retrain,
    running.serve,
    registry.models,
    registry.rollback,
    registry.promote,
    running.reconcile,
    data.datasets,
    data.download,
    data.info,
    using.predict,
    using.model_server,
    settings.preset,
    settings.protocol,
    settings.compare,
):
    app.command()(command)


def main() -> None:
    """Entry point of ``hsipipe``."""
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()
