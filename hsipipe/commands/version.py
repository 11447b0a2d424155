"""The option ``--version``."""

from importlib.metadata import version
from typing import Annotated

import typer


def _show(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"hsipipe {version('hsipipe')}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show)
]
