"""Look at cubes: view, quicklook."""

from pathlib import Path
from typing import Annotated

import typer

Variable = Annotated[str | None, typer.Option(help="Array to read, if a file contains several.")]


def view(
    cubes: Annotated[list[Path], typer.Argument(metavar="CUBE...", help="One or more cubes of the same ground.")],
    truth: Annotated[Path | None, typer.Option(help="The truth, for error maps.", metavar="FILE")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("view.html"),
    variable: Variable = None,
    max_mb: Annotated[float, typer.Option(min=1, help="Largest size of the page in MB.", metavar="MB")] = 15.0,
) -> None:
    """Write a page that shows cubes side by side: one HTML file that loads nothing from elsewhere.

    Swipe between two images, choose colours or a band, click a pixel for the spectra of all cubes. An LR cube is shown
    enlarged. With --truth the page has maps of the spectral angle and of the error, and where each cube is better or
    worse than the interpolated LR cube; without an LR cube, than the first cube.

    Of a large scene the page keeps each n-th pixel, and says so.

    [bold]Examples[/bold]

      hsipipe view scene.tif

      hsipipe view low.nc bicubic.nc high.nc --truth truth.nc --out compare.html
    """
    from hsipipe.errors import FileFormatError, MissingInputError
    from hsipipe.storage.publish import write_text
    from hsipipe.viewer.files import view_files

    if out.suffix.lower() not in (".html", ".htm"):
        raise FileFormatError(f"{out}: the page is HTML, got the suffix {out.suffix!r}; name it .html")
    if not out.absolute().parent.is_dir():
        raise MissingInputError(f"No folder {out.absolute().parent}; make it, or name another place with --out.")
    page = view_files(cubes, truth=truth, variable=variable, most_bytes=int(max_mb * 1e6))
    write_text(out, page)
    typer.echo(f"wrote {out} ({len(page.encode()) / 1e6:.1f} MB); open it in a browser")


def quicklook(
    source: Annotated[
        str,
        typer.Argument(metavar="IN", help="A cube: a file, a folder of PNG bands, or an address of .tif or .zarr."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT.png", help="The picture to write.")],
    size: Annotated[int, typer.Option(min=16, help="Largest side of the picture in pixels.")] = 1024,
    variable: Variable = None,
) -> None:
    """Write a picture of a cube: true colour by wavelength, else bands spread evenly.

    Bands are stretched between the 1st and 99th percentile, those of true colour alike. Bad bands are not used. Of a
    remote cube the shown bands alone are fetched, if each band has its own tiles.

    [bold]Example[/bold]

      hsipipe quicklook scene.hdr scene.png
    """
    from hsipipe.storage.urls import place_of
    from hsipipe.viewer.quicklook import quicklook as write

    typer.echo(f"wrote {target}; {write(place_of(source), target, size=size, variable=variable)}")
