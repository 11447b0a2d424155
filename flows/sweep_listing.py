"""The sweeps for people."""

from rich import box
from rich.table import Table

from hsipipe.sweeps import load_sweep, sweep_names


def sweep_table() -> Table:
    """Name, title and points of every sweep."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "title", "points"):
        table.add_column(heading, overflow="fold")
    for name in sweep_names():
        sweep = load_sweep(name)
        table.add_row(name, sweep.title, ", ".join(point.label for point in sweep.points))
    return table
