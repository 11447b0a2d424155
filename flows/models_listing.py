"""Tables of the model registry for a terminal."""

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from tasks.tracking import registered_names, standing

_SHORT = 8
"""Digits of a digest that fit a terminal."""


def models_table(root: Path) -> Table:
    """Every registered model with its champion and its challenger."""
    table = Table("model", "champion", "challenger", "versions")
    for name in registered_names(root):
        now = standing(root, name)
        table.add_row(name, _version(now.champion), _version(now.challenger), str(len(now.versions)))
    return table


def versions_table(root: Path, name: str) -> Table:
    """The versions of a model, newest first; scores are those of its own test scenes."""
    now = standing(root, name)
    table = Table("v", title=name)
    for title in ("alias", "model", "MPSNR dB", "SAM deg", "protocol", "sha256"):
        table.add_column(title, no_wrap=True)
    for version in sorted(now.versions, reverse=True):
        tags = now.versions[version]
        aliases = [alias for alias, of in (("champion", now.champion), ("challenger", now.challenger)) if of == version]
        aliases += ["withdrawn"] if version in now.withdrawn else []
        scores = [_number(tags.get(key)) for key in ("mpsnr_db", "sam_deg")]
        protocol, sha256 = tags.get("protocol.hash", "")[:_SHORT], now.sha256.get(version, "")[:_SHORT]
        model = escape(tags.get("model", ""))
        table.add_row(str(version), "\n".join(aliases), model, *scores, escape(protocol), sha256)
    return table


def history_table(root: Path, name: str) -> Table:
    """How the champion of a model moved, newest first."""
    table = Table("when (UTC)", "what", "from", "to", "why")
    for move in reversed(standing(root, name).moves):
        table.add_row(move.at, move.kind, _version(move.previous), _version(move.version), escape(move.reason))
    return table


def _version(number: int | None) -> str:
    return "-" if number is None else str(number)


def _number(text: str | None) -> str:
    try:
        return f"{float(str(text)):.2f}"
    except ValueError:
        return "-"
