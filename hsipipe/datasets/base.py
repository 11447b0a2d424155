"""Base class of the data sets: facts, source of the files, and access to the scenes.

Most data sets are constants: a URL, facts, and the pattern of their file names. A data set of another layout overrides
:meth:`Dataset.find` and, if needed, :meth:`Dataset.files`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from hsipipe import formats
from hsipipe.datasets.download import Archive, fetch, is_cached
from hsipipe.datasets.transfer import Patience
from hsipipe.errors import DataError, ParamsError
from hsipipe.formats.base import with_wavelengths
from hsipipe.formats.georeference import crs_of, transform_of
from hsipipe.params import DatasetParams, SyntheticParams

# Formats with one cube per file, which ignore `variable`.
_ONE_CUBE = {".npy", ".hdr", ".tif", ".tiff"}


@dataclass(frozen=True)
class Measured:
    """A multispectral image (MSI) measured on the grid of a scene.

    Attributes:
        path: Path for :func:`hsipipe.open_cube`.
        location: Path in the artifact.
        variable: Name of the array in the file; None: the file holds one array.
        scale: Scale factor, the value that maps to 1.0.
    """

    path: Path
    location: str
    variable: str | None
    scale: float


@dataclass(frozen=True)
class Dataset:
    """Facts of a data set and, in subclasses, the layout of its files.

    Attributes:
        name: Name in params.yaml.
        title: Title given by its authors.
        licence: Name of the licence, or permitted use in two or three words.
        doi: DOI of the publication, or its URL if there is no DOI.
        bands: Number of bands; None: read from the files.
        wavelength_nm: Centre of each band in nm; empty: read from the files, or unknown.
        gsd_m: Ground sampling distance in m; None: read from the files, or a laboratory scene.
        scale: Scale factor, the value in the opened cube that maps to 1.0.
        layout: Expected layout of the folder, for error messages.
        archives: Files to download; empty if there are none.
        terms: Conditions of the publisher beyond the licence.
        patterns: File names of the scenes in a folder and two levels below it, as for :meth:`pathlib.Path.glob`.
        scene: Name of the only scene; empty: name each scene after its file.
        variable: Name of the array in files with several arrays; None: the files hold one array.
        drop_bands: Bands to drop, counted from 1.
        ground_truth: True if a scene is a clean reference. If False, the cube serves as the reference at reduced
            resolution (Wald's protocol), and there is no reference at full resolution.
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
    terms: str = ""
    patterns: tuple[str, ...] = ()
    scene: str = ""
    variable: str | None = None
    drop_bands: tuple[int, ...] = ()
    ground_truth: bool = True

    @property
    def drop_param(self) -> str | None:
        """Name of the parameter that drops bands, for messages; None if there is none."""
        return None

    @property
    def size_bytes(self) -> int:
        """Size of the download in bytes."""
        return sum(archive.size_bytes for archive in self.archives)

    def configure(self, params: DatasetParams) -> "Dataset":
        """Return this data set with the settings of params.yaml.

        Raises:
            ParamsError: The parameters do not fit this data set.
        """
        if params.root is not None and not self.archives:
            raise ParamsError(
                f"dataset.root is {params.root!r}, but {self.name!r} is generated and reads no files; set it to null."
            )
        return self

    def fetch(self, cache: Path, *, patience: Patience | None = None) -> Path:
        """Download the archives missing from the cache and return the folder to pass to :meth:`find`."""
        place = cache / self.name
        for archive in self.archives:
            fetch(archive, place, patience=patience)
        return place

    def is_place(self, root: Path) -> bool:
        """Return True if `root` may hold the scenes."""
        return root.is_dir()

    def find(self, root: Path) -> Mapping[str, Path]:
        """Find the scenes below `root`: name -> path for :func:`hsipipe.open_cube`.

        Raises:
            DataError: Two files give scenes of the same name.
        """
        found: dict[str, Path] = {}
        depths = ("", "*/", "*/*/")  # an archive unpacks to a folder, which often holds another one
        for path in sorted({path for name in self.patterns for depth in depths for path in root.glob(depth + name)}):
            if is_hidden(path, root):
                continue
            name = self.scene_name(path)
            if name in found:
                raise DataError(f"Scene {name!r} is in {found[name]} and in {path}; keep one of them.")
            found[name] = path
        return found

    def scene_name(self, path: Path) -> str:
        """Return the scene name of a file."""
        return self.scene or path.stem

    def location(self, scene: str, path: Path) -> str:
        """Return the path of the scene in the artifact, for :func:`hsipipe.open_cube`."""
        return path.name if path.is_dir() else f"{scene}{path.suffix}"

    def files(self, scene: str, path: Path) -> Mapping[str, Path]:
        """List the files to copy for a scene returned by :meth:`find`: path in the artifact -> file."""
        return copies(path, self.location(scene, path))

    def msi(self, scene: str, path: Path) -> Measured | None:
        """Return the multispectral image measured with the scene, if there is one."""
        return None

    def read(self, path: Path) -> xr.DataArray:
        """Open a scene returned by :meth:`find` with all its bands, and with wavelengths if they are known.

        Raises:
            ParamsError: dataset.folder.wavelength_nm does not have one value per band.
        """
        cube = formats.open_cube(path, variable=self.variable_in(path), bands=self.bands)
        if "wavelength_nm" not in cube.coords and len(self.wavelength_nm) == cube.sizes["band"]:
            cube = with_wavelengths(cube, self.wavelength_nm)
        return cube

    def variable_in(self, path: Path) -> str | None:
        """Return the name of the array to read from a file."""
        is_bands = path.is_dir() and path.suffix.lower() != ".zarr"
        return None if is_bands or path.suffix.lower() in _ONE_CUBE else self.variable

    def generate(self, params: SyntheticParams, out: Path) -> Mapping[str, Path] | None:
        """Generate the scenes in `out` and return them as :meth:`find` does; None if nothing is generated."""
        return None

    def presence(self, cache: Path) -> str:
        """Report if the scenes are available offline: "generated", "cached", "in part" or "not here"."""
        if not self.archives:
            return "generated"
        here = [is_cached(archive, cache / self.name) for archive in self.archives]
        return "cached" if all(here) else "in part" if any(here) else "not here"


def copies(path: Path, location: str) -> dict[str, Path]:
    """List the files of a cube that is stored at `location`: path in the artifact -> file.

    The scene itself may be a link, as is common for large files. The files in its folder are copied unread, so a link
    there must not leave the folder.

    Raises:
        DataError: A link in the folder of the cube points outside of it, to a folder, or to a missing file.
    """
    if path.is_dir():
        _check_links(path)
        # Zarr version 2 stores its metadata in hidden files, so only the junk of macOS is skipped.
        files = sorted(f for f in path.rglob("*") if f.is_file() and not f.name.startswith(("._", ".DS_Store")))
        return {f"{location}/{file.relative_to(path).as_posix()}": file for file in files}
    stem = location.removesuffix(path.suffix)
    # Renamed together with the cube: a header finds its data by the file name. X-METADATA.XML keeps its own name.
    others = [other for other in formats.companions(path) if other != path]
    return {location: path} | {
        stem + other.name.removeprefix(path.stem) if other.name.startswith(path.stem) else other.name: other
        for other in others
    }


def _check_links(folder: Path) -> None:
    for entry in sorted(folder.rglob("*")):
        if not entry.is_symlink():
            continue
        target = entry.resolve()
        if not (target.is_file() and target.is_relative_to(folder.resolve())):
            raise DataError(
                f"{entry} is a link to {target}, expected a file of the same folder. Remove the link, or replace it by "
                f"the file (cp -rL copies {folder.name} with its links resolved)."
            )


def is_hidden(path: Path, root: Path) -> bool:
    """Return True if a part of the path below `root` is hidden; macOS adds ``._x`` and ``__MACOSX`` to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(root).parts)


def gsd_of(cube: xr.DataArray) -> float | None:
    """Return the ground sampling distance of a cube in m, or None if it has no projected coordinate system."""
    crs, transform = crs_of(cube), transform_of(cube)
    if crs is None or transform is None or not crs.is_projected:
        return None
    _, metres = crs.linear_units_factor
    return round(float(np.sqrt(abs(transform.determinant)) * metres), 4)
