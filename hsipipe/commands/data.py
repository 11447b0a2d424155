"""Inspect and download data: datasets, download, info."""

import json
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hsipipe.commands.options import DetectorOverlap, MaskChoice, show, size_text
from hsipipe.errors import MissingInputError

if TYPE_CHECKING:
    from rich.table import Table

    from hsipipe.datasets.base import Dataset
    from hsipipe.formats.overlap import Overlap
    from hsipipe.formats.products.base import Masks


def datasets(
    name: Annotated[str | None, typer.Argument(help="Show the details of this data set.")] = None,
) -> None:
    """List the data sets for dataset.name.

    [bold]Example[/bold]

      hsipipe datasets chikusei
    """
    show(_dataset_table() if name is None else _dataset_details(name))


def download(name: Annotated[str, typer.Argument(help="A name that `hsipipe datasets` lists.")]) -> None:
    """Download a data set into the cache, verify and unpack it; an interrupted download resumes.

    HSIPIPE_CACHE is the folder of the cache; HSIPIPE_MIRROR is a URL or a folder that is tried first.
    HSIPIPE_OFFLINE=1 disables the network.

    [bold]Example[/bold]

      hsipipe download pavia_university
    """
    typer.echo(_download_dataset(name))


def info(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Cubes: files, folders of a sensor product or of bands, or addresses of .tif and .zarr.",
        ),
    ],
    variable: Annotated[str | None, typer.Option(help="Array to inspect, if the file contains several.")] = None,
    bands: Annotated[
        int | None, typer.Option(min=1, help="Number of bands, if the file does not name its axes.", metavar="N")
    ] = None,
    detector_overlap: DetectorOverlap = "keep",
    masks: MaskChoice = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each cube, one a line.")] = False,
) -> None:
    """Show shape, wavelengths and values of cubes; of a sensor product also what was applied and what was masked.

    The last line is the command that works for them: prediction with the model of the project, models/superresolver, if
    it was trained on such bands; else the training on these cubes. Of a remote cube the values in the middle are read.

    [bold]Examples[/bold]

      hsipipe info scene.hdr

      hsipipe info --json data/mine/*.tif
    """
    from hsipipe.commands.cube_facts import CubeFacts
    from hsipipe.commands.cube_info import cube_table
    from hsipipe.commands.next_step import next_step
    from hsipipe.storage.urls import place_of

    seen = []
    for file in files:
        facts = CubeFacts.read(
            place_of(file),
            variable=variable,
            bands=bands,
            overlap=cast("Overlap", detector_overlap),
            masks=cast("Masks", masks),
        )
        if as_json:
            typer.echo(json.dumps(facts.as_json(), allow_nan=False))
            continue
        show(cube_table(facts))
        typer.echo()
        seen.append(facts)
    if seen and bands is not None:
        typer.echo("No command is proposed: other commands would read this file without --bands.")
    elif seen:
        typer.echo(next_step(seen))


def _dataset_table() -> "Table":
    """Return a table of the data sets, at most 80 characters wide."""
    from rich.table import Table

    from hsipipe.datasets.catalogue import DATASETS
    from hsipipe.datasets.download import cache_folder

    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("name", "bands", "nm", "GSD m", "size", "here", "licence"):
        table.add_column(heading, no_wrap=True)
    for name in sorted(DATASETS):
        facts = DATASETS[name]
        table.add_row(
            name,
            str(facts.bands or "any"),
            _range_nm(facts) or "any",
            "-" if facts.gsd_m is None else f"{facts.gsd_m:g}",
            size_text(facts.size_bytes) if facts.archives else "-",
            facts.presence(cache_folder()),
            facts.licence,
        )
    return table


def _dataset_details(name: str) -> "Table":
    """Return the details of a data set, with its sources and digests.

    Raises:
        UnknownNameError: Unknown data set; the message lists the names.
    """
    from rich.table import Table

    from hsipipe.datasets.catalogue import DATASETS
    from hsipipe.datasets.download import cache_folder

    facts = DATASETS[name]
    rows = {
        "name": name,
        "title": facts.title,
        "DOI": facts.doi or "-",
        "licence": facts.licence,
        "terms": facts.terms or "-",
        "bands": str(facts.bands or "as the files have"),
        "wavelengths": f"{span} nm" if (span := _range_nm(facts)) else "as the files say",
        "GSD": "-" if facts.gsd_m is None else f"{facts.gsd_m:g} m",
        "full scale": f"{facts.scale:g}",
        "ground truth": "yes" if facts.ground_truth else "no, only at reduced resolution",
        "layout": facts.layout,
        "here": facts.presence(cache_folder()),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")  # URLs stay whole for copying
    for what, text in rows.items():
        table.add_row(what, text)
    for archive in facts.archives:
        table.add_row("download", f"{archive.url} ({size_text(archive.size_bytes)})")
        for mirror in archive.mirrors:
            table.add_row("", f"or {mirror}")
        table.add_row("", f"sha256 {archive.sha256 or 'of the first download, then enforced (trust on first use)'}")
    return table


def _download_dataset(name: str) -> str:
    """Download a data set into the cache; return a line with its location.

    Raises:
        UnknownNameError: Unknown data set; the message lists the names.
        MissingInputError: It cannot be downloaded, or contains no scene.
    """
    from hsipipe.datasets.catalogue import DATASETS
    from hsipipe.datasets.download import cache_folder

    facts = DATASETS[name]
    if not facts.archives:
        made = facts.presence(cache_folder()) == "generated"
        how = "its scenes are generated" if made else "set dataset.root to the folder of your cubes"
        return f"{name}: there is nothing to download, {how}"
    place = facts.fetch(cache_folder())
    scenes = facts.find(place)
    if not scenes:
        raise MissingInputError(f"{name}: there is no scene in {place}. Expected there: {facts.layout}.")
    return f"{name}: {len(scenes)} scene{'s' if len(scenes) > 1 else ''} in {place}"


def _range_nm(facts: "Dataset") -> str:
    nm = facts.wavelength_nm
    return f"{nm[0]:.0f}-{nm[-1]:.0f}" if nm else ""
