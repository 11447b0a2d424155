"""Read ``tables.yaml``: the tables of papers, and the settings of each of their runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from hsipipe.errors import ParamsError
from hsipipe.params.overrides import as_overrides, flatten
from hsipipe.protocols import PROTOCOLS, setup_of
from hsipipe.registry import unknown_name

COLUMNS = {"mpsnr_db": 2, "mssim": 4, "sam_deg": 2, "ergas": 3}
"""Metrics of the published numbers in their order, each with the decimals to print: at x32 ERGAS has small values."""


@dataclass(frozen=True)
class Part:
    """One run of the pipeline.

    Attributes:
        dataset: Name of the data set.
        scale: Ratio of the pixel sizes s.
        patch: Edge of a training patch in HR pixels.
        methods: Rows.
        settings: Dotted name in params.yaml -> value.
    """

    dataset: str
    scale: int
    patch: int
    methods: Sequence[str]
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Data set and scale, such as ``cave x32``; two parts may share it."""
        return f"{self.dataset} x{self.scale}"

    def overrides(self) -> list[str]:
        """Return the settings as ``group.key=value``."""
        return as_overrides(self.settings)


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper.

    Attributes:
        name: Name on the command line.
        title: Content in a few words.
        paper: Its source.
        differs: How the paper's protocol differs from the one here.
        parts: The runs.
        published: Title of a part -> method -> the paper's values of :data:`COLUMNS`, None where unknown.
    """

    name: str
    title: str
    paper: str
    differs: str
    parts: Sequence[Part]
    published: Mapping[str, Mapping[str, Sequence[float | None]]]

    def titles(self) -> list[str]:
        """Return the title of each data set and scale once."""
        return list(dict.fromkeys(part.title for part in self.parts))

    def methods(self, title: str) -> list[str]:
        """Return the rows of a data set and scale, of all its parts."""
        return list(dict.fromkeys(name for part in self.parts if part.title == title for name in part.methods))


@cache
def paper_tables() -> Mapping[str, PaperTable]:
    """Return all tables by name."""
    tree = yaml.safe_load(files("flows.tables").joinpath("tables.yaml").read_text(encoding="utf-8"))
    return {name: _table(name, entry) for name, entry in tree.items() if not name.startswith("_")}


def paper_table(name: str) -> PaperTable:
    """Return a table.

    Raises:
        UnknownNameError: There is no such table; the message lists them.
    """
    tables = paper_tables()
    if name not in tables:
        raise unknown_name("table", name, list(tables))
    return tables[name]


def roots(given: Sequence[str], table: PaperTable) -> dict[str, str]:
    """Parse ``DATASET=FOLDER``, or a folder alone for a table of one data set.

    Raises:
        ParamsError: The data set is not one of the table, or none is named and there are several.
    """
    datasets = list(dict.fromkeys(part.dataset for part in table.parts))
    found: dict[str, str] = {}
    for text in given:
        key, equals, folder = text.partition("=")
        if not equals and len(datasets) == 1:
            key, folder = datasets[0], text
        if key not in datasets or not folder:
            raise ParamsError(f"Got --root {text}, expected DATASET=FOLDER with one of {', '.join(datasets)}.")
        found[key] = str(Path(folder).expanduser().absolute())
    return found


def _table(name: str, entry: Mapping[str, Any]) -> PaperTable:
    parts = [_part(entry, part) for part in entry["parts"]]
    return PaperTable(
        name, entry["title"], entry["paper"], entry["differs"].strip(), tuple(parts), entry.get("published", {})
    )


def _part(table: Mapping[str, Any], part: Mapping[str, Any]) -> Part:
    dataset, scale, patch = part["dataset"], part["scale"], part["patch"]
    methods, protocol = part.get("methods", table["methods"]), table["protocol"]
    pins = setup_of(protocol, dataset).pins_at(scale) if PROTOCOLS[protocol].setups else {}
    fixed = {
        "protocol": protocol,
        "dataset.name": dataset,
        "dataset.root": None,
        "degradation.scale": scale,
        "degradation.crop_remainder": False,
        **pins,
        "patches.size": patch,
        "patches.stride": patch // 2 if patch // 2 % scale == 0 else patch,
        "compare": list(methods),
    }
    return Part(
        dataset, scale, patch, tuple(methods), {**fixed, **flatten(table["set"]), **flatten(part.get("set", {}))}
    )
