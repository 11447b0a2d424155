"""The command line ``hsipipe``, the same as ``python -m flows``."""

import sys

import typer

from flows.commands import data, look, models, pipeline, registry, settings, sharpen, tables
from tasks.running.exits import guarded
from tasks.running.proxies import spare_local_servers

app = typer.Typer(
    name="hsipipe",
    help="Hyperspectral image super-resolution: run the pipeline, use its models, look at cubes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

for command in (
    pipeline.pipeline,
    pipeline.sweep,
    tables.tables,
    registry.retrain,
    pipeline.serve,
    registry.models,
    registry.rollback,
    registry.promote,
    pipeline.reconcile,
    settings.methods,
    data.datasets,
    data.download,
    data.info,
    look.view,
    look.quicklook,
    sharpen.sharpen,
    sharpen.pair,
    models.predict,
    models.model_server,
    settings.preset,
    settings.protocol,
    settings.compare,
):
    app.command()(command)


def main() -> None:
    """Entry point of ``hsipipe``."""
    spare_local_servers()
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()
