"""What a data set is: its facts, where its files come from, how its scenes are found and read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from hsipipe.datasets.download import Archive, is_cached
from hsipipe.formats import open_cube
from hsipipe.params import SyntheticParams


@dataclass(frozen=True)
class Dataset:
    """Facts of a data set and, in subclasses, how its files are laid out.

    Attributes:
        name: What params.yaml calls it.
        title: What its makers call it.
        licence: Terms of use as published.
        doi: DOI of the publication, or the address where there is none.
        bands: Number of bands; None where a parameter decides.
        wavelength_nm: Centre of each band; empty where a parameter decides.
        gsd_m: Ground sampling distance in m; None for a laboratory scene.
        scale: Value in the opened cube that becomes 1.0.
        layout: How the scenes lie in a folder, in words for an error message.
        archives: What is downloaded; empty where nothing is.
    """

    name: str
    title: str
    licence: str
    doi: str
    bands: int | None
    wavelength_nm: tuple[float, ...]
    gsd_m: float | None
    scale: float
    layout: str
    archives: tuple[Archive, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of the download."""
        return sum(archive.size_bytes for archive in self.archives)

    def find(self, root: Path) -> Mapping[str, Path]:
        """The scenes in `root`, a person's folder: name -> what :func:`hsipipe.open_cube` opens."""
        raise NotImplementedError

    def location(self, scene: str) -> str:
        """Where the scene lies in the artifact, as :func:`hsipipe.open_cube` wants it."""
        raise NotImplementedError

    def files(self, scene: str, path: Path) -> Mapping[str, Path]:
        """What is copied of a scene that :meth:`find` gave: path in the artifact -> file."""
        raise NotImplementedError

    def read(self, path: Path) -> xr.DataArray:
        """The cube of a scene that :meth:`find` gave."""
        return open_cube(path)

    def generate(self, params: SyntheticParams, out: Path) -> list[str] | None:
        """Make the scenes in `out` and give their names; None: this data set is not generated."""
        return None

    def presence(self, cache: Path) -> str:
        """Whether its scenes can be had without a network: "generated", "cached" or "not here"."""
        if not self.archives:
            return "generated"
        return "cached" if all(is_cached(archive, cache) for archive in self.archives) else "not here"
