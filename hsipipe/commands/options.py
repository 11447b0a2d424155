"""Options and output shared by several commands."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hsipipe.inference.guard import Guard

Override = Annotated[
    list[str] | None,
    typer.Option(
        "-S",
        "--set-param",
        metavar="GROUP.KEY=VALUE",
        help="Override a parameter in params.yaml; repeatable, the last value of a key wins.",
    ),
]
Preset = Annotated[str | None, typer.Option(help="Named configuration; -S takes precedence.")]
Protocol = Annotated[
    str | None,
    typer.Option(help="Named protocol, by which results can be compared with a paper's; -S takes precedence."),
]
ModelPlace = Annotated[str, typer.Option(help="models:/<name>@<alias>, models:/<name>/<version> or a folder.")]
Tile = Annotated[int, typer.Option(min=1, help="Edge of a tile in input pixels.")]
TileOverlap = Annotated[int, typer.Option(min=0, help="Input pixels of context around a tile.")]
FullScale = Annotated[
    float, typer.Option(help="Scale factor: input value that maps to 1.0, e.g. 65535; applies to the result, too.")
]
Variable = Annotated[str | None, typer.Option(help="Array to read, if the file contains several.")]
DetectorOverlap = Annotated[
    str,
    typer.Option(
        metavar="keep|swir|vnir|average", help="Bands to use where two detectors measured the same wavelengths."
    ),
]
MaskChoice = Annotated[
    str,
    typer.Option(
        metavar="all|defects|fill", help="Pixels of a sensor product without data: all includes clouds and shadows."
    ),
]
OtherWavelengths = Annotated[
    bool, typer.Option("--other-wavelengths", help="Accept bands of other wavelengths than those of the training.")
]
OnDoubt = Annotated[
    str, typer.Option(help="On doubtful results: warn, fallback (interpolate there) or off.", metavar="WHAT")
]
WindowMemory = Annotated[
    str | None,
    typer.Option(help="Memory for windows, e.g. 4GB; default: a quarter of what is free.", metavar="SIZE"),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="float32|like-input",
        help="Numbers of the result: like-input rounds to the integers of the input, with its scale and offset.",
    ),
]
Timeout = Annotated[float | None, typer.Option(help="Time limit of a run in minutes.")]


def check_guard(guard: str) -> "Guard":
    """Return the choice of `--guard`; refuse an unknown one."""
    from hsipipe.inference.guard import GUARDS

    for known in GUARDS:
        if guard == known:
            return known
    raise typer.BadParameter(f"--guard must be one of {', '.join(GUARDS)}, got {guard}.")


def check_timeout(minutes: float | None) -> None:
    """Refuse a time limit that is not a positive number."""
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise typer.BadParameter(f"--timeout must be a positive number of minutes, got {minutes}.")


def show(renderable: object) -> None:
    """Print a table or another rich renderable."""
    from rich.console import Console

    Console().print(renderable)


def size_text(size_bytes: float) -> str:
    """Format a size in MB or GB."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
