"""Settings and results: preset, protocol, compare."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import preset_overrides, show


def preset(name: Annotated[str, typer.Argument(help="For example dmgasr-paper.")]) -> None:
    """Print a named configuration as options for `dvc exp run`.

    [bold]Example[/bold]

      dvc exp run $(hsipipe preset dmgasr-paper)
    """
    typer.echo(" ".join(f"-S {override}" for override in preset_overrides(name)))


def protocol(
    name: Annotated[str | None, typer.Argument(help="For example sspsr; left out: list them.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Where it is defined on several.")] = None,
    scale: Annotated[int | None, typer.Option(help="Ratio of the pixel sizes.")] = None,
) -> None:
    """List the protocols, or print what one fixes as options for `dvc exp run`.

    [bold]Example[/bold]

      dvc exp run $(hsipipe protocol sspsr --dataset chikusei --scale 4)
    """
    from flows.protocol_listing import protocol_overrides, protocol_table

    if name is None:
        show(protocol_table())
        return
    overrides = protocol_overrides(name, dataset=dataset, scale=scale)
    typer.echo(" ".join(f"-S {override}" for override in overrides))


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A metrics.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
) -> None:
    """Show two results side by side; results of different protocols are refused.

    [bold]Example[/bold]

      hsipipe compare last-week.json reports/metrics.json
    """
    from flows.comparing import comparison_table

    show(comparison_table(first, second))
