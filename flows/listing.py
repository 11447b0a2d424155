"""Tables for people: the data sets there are, and what a cube holds."""

from pathlib import Path

import numpy as np
from rich.table import Table

from hsipipe.bands import band_label
from hsipipe.datasets.catalogue import DATASETS
from hsipipe.datasets.download import cache_folder
from hsipipe.formats import open_cube


def dataset_table() -> Table:
    """Name, sensor facts, licence, size and presence of every data set."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "bands", "nm", "GSD m", "download", "here", "licence", "title"):
        table.add_column(heading)
    for name in sorted(DATASETS):
        facts = DATASETS[name]
        nm = facts.wavelength_nm
        table.add_row(
            name,
            str(facts.bands or "any"),
            f"{nm[0]:.0f}-{nm[-1]:.0f}" if nm else "any",
            "-" if facts.gsd_m is None else f"{facts.gsd_m:g}",
            f"{facts.size_bytes / 1e6:.0f} MB" if facts.archives else "-",
            facts.presence(cache_folder()),
            facts.licence,
            facts.title,
        )
    return table


def cube_table(path: Path, *, variable: str | None = None) -> Table:
    """Shape, wavelengths in nm, range of the values, NaN and dead bands, and the position if it is known."""
    cube = open_cube(path, variable=variable)
    bands, height, width = cube.shape
    values = cube.to_numpy()
    finite = np.isfinite(values)
    lowest = np.where(finite, values, np.inf).min(axis=(1, 2))
    highest = np.where(finite, values, -np.inf).max(axis=(1, 2))
    dead = np.flatnonzero(lowest >= highest).tolist()
    nm = cube["wavelength_nm"].to_numpy() if "wavelength_nm" in cube.coords else None
    rows = {
        "file": str(path),
        "shape": f"{bands} bands, {height} rows, {width} columns",
        "wavelengths": "unknown",
        "values": f"{lowest.min():g} to {highest.max():g}" if finite.any() else "none is finite",
        "NaN or Inf": str(int(finite.size - finite.sum())),
        "dead bands": ", ".join(band_label(band, nm) for band in dead) or "none",
        "position": "unknown",
    }
    if nm is not None:
        rows["wavelengths"] = f"{nm.min():g} to {nm.max():g} nm"
    if "spatial_ref" in cube.coords:
        rows["position"] = str(cube["spatial_ref"].attrs.get("crs_wkt", "known")).split(",")[0]
    table = Table(box=None, show_header=False, pad_edge=False)
    for what, text in rows.items():
        table.add_row(what, text)
    return table
