"""Print settings and compare results: methods, preset, protocol, compare."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hsipipe.commands.named_overrides import preset_overrides, protocol_overrides
from hsipipe.commands.options import show
from hsipipe.errors import FileFormatError, MissingInputError, one_line
from hsipipe.json_text import parse_json

if TYPE_CHECKING:
    from rich.table import Table

_COMPARED = ("mpsnr_db", "mssim", "sam_deg", "ergas")
_SAMPLED = ("crps", "coverage_90", "spread_skill", "energy_score", "psd_error")


def methods() -> None:
    """List the methods: names for compare of params.yaml.

    [bold]Example[/bold]

      hsipipe methods
    """
    from hsipipe.checkout import PARAMS, find_root

    try:
        params = find_root() / PARAMS
    except MissingInputError:
        params = None
    show(_method_table(params))


def preset(
    name: Annotated[str | None, typer.Argument(help="For example dmgasr-paper; without it: list the presets.")] = None,
) -> None:
    """List the presets, or print one as options for `hsipipe pipeline`.

    [bold]Examples[/bold]

      hsipipe preset

      hsipipe pipeline $(hsipipe preset dmgasr-paper)
    """
    if name is None:
        show(_preset_table())
        return
    typer.echo(" ".join(f"-S {override}" for override in preset_overrides(name)))


def protocol(
    name: Annotated[str | None, typer.Argument(help="For example sspsr; without it: list the protocols.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set, for a protocol defined on several.")] = None,
    scale: Annotated[int | None, typer.Option(help="Scale: ratio of the pixel sizes.")] = None,
) -> None:
    """List the protocols, or print the settings that one fixes as options for `hsipipe pipeline`.

    [bold]Example[/bold]

      hsipipe pipeline $(hsipipe protocol sspsr --dataset chikusei --scale 4)
    """
    if name is None:
        show(_protocol_table())
        return
    overrides = protocol_overrides(name, dataset=dataset, scale=scale)
    typer.echo(" ".join(f"-S {override}" for override in overrides))


def compare(
    first: Annotated[Path, typer.Argument(metavar="[A]", help="A metrics.json.")] = Path("reports/metrics.json"),
    second: Annotated[Path | None, typer.Argument(metavar="[B]", help="A second metrics.json.")] = None,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="The metrics of samples: CRPS, coverage, energy score, power spectra.")
    ] = False,
) -> None:
    """Show the table of a result, or two results side by side; refuse results of different protocols.

    [bold]Examples[/bold]

      hsipipe compare --uncertainty

      hsipipe compare last-week.json reports/metrics.json
    """
    if second is not None:
        show(_comparison_table(first, second, _SAMPLED if uncertainty else _COMPARED))
        return
    from rich.console import Console

    from hsipipe.evaluation.table import print_table

    print_table(_read(first), Console(), uncertainty=uncertainty)


def _method_table(params: Path | None) -> "Table":
    """Return a table of the methods with their input, training and what they build on, at most 80 characters wide.

    Args:
        params: A params.yaml; it names the trained and the compared methods. None: leave out these columns.
    """
    from rich.table import Table

    from hsipipe.methods.catalogue import entries, is_trained
    from hsipipe.params import load_params

    settings = None if params is None else load_params(params)
    table = Table(box=None, pad_edge=False)
    rows = []
    for name, entry in entries().items():
        row = {"name": name, "input": "pair" if entry.fuses else "LR"}
        if settings is not None:
            row["trained"] = "yes" if is_trained(settings, name) else "no"
        row["builds on"] = entry.autoencoder or entry.mean or "-"
        if settings is not None:
            row["compared"] = "yes" if name in settings.compare else "no"
        rows.append(row)
    for heading in rows[0]:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    return table


def _preset_table() -> "Table":
    """Return a table of the presets with task and compared methods."""
    from rich.table import Table

    from hsipipe.methods.presets import load_preset, preset_names
    from hsipipe.params.overrides import flatten
    from hsipipe.restoration import SUPER_RESOLUTION

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "task", "compared"):
        table.add_column(heading, no_wrap=heading != "compared")
    for name in preset_names():
        fixed = flatten(load_preset(name))
        table.add_row(name, fixed.get("degradation.task", SUPER_RESOLUTION), ", ".join(fixed["compare"]))
    return table


def _protocol_table() -> "Table":
    """Return a table of the protocols with data sets, scales and title."""
    from rich.table import Table

    from hsipipe.protocols import PROTOCOLS

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "dataset", "scales", "title"):
        table.add_column(heading, no_wrap=heading != "title")
    for name, protocol in PROTOCOLS.items():
        scales = {dataset: ",".join(map(str, setup.scales)) for dataset, setup in protocol.setups.items()}
        scales = scales or {"any": "any"}
        table.add_row(name, "\n".join(scales), "\n".join(scales.values()), protocol.title)
    return table


def _comparison_table(first: Path, second: Path, keys: Sequence[str] = _COMPARED) -> "Table":
    """Compare the means of the rows that both files contain.

    Args:
        first: First ``metrics.json``.
        second: Second ``metrics.json``.
        keys: Metrics to show.

    Raises:
        MissingInputError: A file is missing.
        FileFormatError: A file is not a metrics.json.
        DataError: Different protocols; the message names the differences.
    """
    from rich import box
    from rich.table import Table

    from hsipipe.protocols import require_same
    from hsipipe.protocols.metrics import METRIC, MISSING

    a, b = _read(first), _read(second)
    require_same(a["protocol"], b["protocol"])
    columns = [METRIC[key] for key in keys]
    protocol = a["protocol"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"protocol {protocol['name']} {protocol['hash']}")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(f"{column.heading}\n{column.unit}", justify="right", no_wrap=True)
    for name in (name for name in a["models"] if name in b["models"]):
        for label, row in (("A", a["models"][name]), ("B", b["models"][name])):
            table.add_row(f"{name} {label}", *(column.text(row.get(column.key)) for column in columns))
        differences = []
        for column in columns:
            before, after = (tree["models"][name].get(column.key) for tree in (a, b))
            known = before is not None and after is not None
            differences.append(f"{after - before:+.{column.digits}f}" if known else MISSING)
        table.add_row("  B - A", *differences, end_section=True, style="bold")
    return table


def _read(path: Path) -> Mapping[str, Any]:
    try:
        tree = parse_json(path.read_text(encoding="utf-8"))
        _check(tree["models"], tree["protocol"])
        for scene, rows in tree.get("scenes", {}).items():
            for name, row in rows.items():
                _require(row, f"{name} of scene {scene}")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingInputError(
            f"No file {path}. hsipipe pipeline writes reports/metrics.json; run it, or give another metrics.json."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = _fault(error)
        raise FileFormatError(
            f"{path} is no metrics.json of an evaluation: {reason}. Give one, such as reports/metrics.json."
        ) from error
    return dict(tree)


def _fault(error: Exception) -> str:
    """Say what is wrong with a result; the repr of an error of decoding would hold the whole file."""
    if isinstance(error, UnicodeDecodeError | json.JSONDecodeError):
        return "it is not JSON"
    return f"it has no key {error}" if isinstance(error, KeyError) else one_line(error)


def _check(models: Mapping[str, Mapping[str, Any]], protocol: Mapping[str, Any]) -> None:
    for name, row in models.items():
        _require(row, f"{name} of models")
        for key in (*_COMPARED, *_SAMPLED):
            if not isinstance(row.get(key), int | float | None):
                raise TypeError(f"{key} of {name} is {row[key]!r}")
    for key in ("name", "hash"):
        if not isinstance(protocol[key], str):
            raise TypeError(f"{key} of the protocol is {protocol[key]!r}")
    dict(protocol.get("fields", []))


def _require(row: Mapping[str, Any], where: str) -> None:
    """Check that a row has the numbers that every comparison reads."""
    if missing := [key for key in ("mpsnr_db", "sam_deg") if key not in row]:
        raise ValueError(f"{where} has no {' and no '.join(missing)}")
