"""Looking at data: datasets, download, info."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import show


def datasets(
    name: Annotated[str | None, typer.Argument(help="Show all that is known of this one.")] = None,
) -> None:
    """List the data sets that dataset.name may say.

    [bold]Example[/bold]

      hsipipe datasets chikusei
    """
    from flows.listing import dataset_details, dataset_table

    show(dataset_table() if name is None else dataset_details(name))


def download(name: Annotated[str, typer.Argument(help="A name that `hsipipe datasets` lists.")]) -> None:
    """Bring a data set into the cache, checked and unpacked; a broken download is continued.

    HSIPIPE_CACHE says where the cache is; HSIPIPE_MIRROR is an address or a folder that is asked first.
    With HSIPIPE_OFFLINE=1 the network is never used.

    [bold]Example[/bold]

      hsipipe download pavia_university
    """
    from flows.listing import download_dataset

    typer.echo(download_dataset(name))


def info(
    file: Annotated[Path, typer.Argument(help="A cube: a file, or a folder of PNG bands.")],
    variable: Annotated[str | None, typer.Option(help="Array to look at, if the file holds several.")] = None,
) -> None:
    """Show what a cube is: shape, wavelengths, values.

    [bold]Example[/bold]

      hsipipe info data/raw/balloons_ms
    """
    from flows.cube_info import cube_table

    show(cube_table(file, variable=variable))
