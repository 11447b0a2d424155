"""What several commands share."""

import math
from typing import Annotated

import typer

Override = Annotated[
    list[str] | None,
    typer.Option(
        "-S",
        "--set-param",
        metavar="GROUP.KEY=VALUE",
        help="Another parameter, written into params.yaml; can be repeated.",
    ),
]


def check_timeout(minutes: float | None) -> None:
    """Refuse a time limit that is none."""
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise typer.BadParameter(f"--timeout must be a positive number of minutes, got {minutes}.")


def preset_overrides(name: str | None) -> list[str]:
    """A named configuration as ``group.key=value``; nothing without a name."""
    if name is None:
        return []
    from hsipipe.methods.presets import load_preset
    from tasks.running.overrides import as_overrides

    return as_overrides(load_preset(name))


def show(renderable: object) -> None:
    """Print a table or the like for people."""
    from rich.console import Console

    Console().print(renderable)
