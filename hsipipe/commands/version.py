"""The option ``--version``."""

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer


def installed_version() -> str:
    """Return the version of hsipipe."""
    try:
        return version("hsipipe")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def _show(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"hsipipe {version('hsipipe')}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show)
]
