"""What a data set is: its facts, where its files come from, how its scenes are found and read.

Most data sets are constants alone: an address, facts, and the pattern of their files. What differs in layout
overrides :meth:`Dataset.find` and perhaps :meth:`Dataset.files`.
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

# Formats with one cube a file: `variable` means nothing to them.
_ONE_CUBE = {".npy", ".hdr", ".tif", ".tiff"}


@dataclass(frozen=True)
class Measured:
    """A multispectral image that was measured on the grid of a scene.

    Attributes:
        path: What :func:`hsipipe.open_cube` opens.
        location: Where it lies in the artifact.
        variable: The array in it; None: the only one.
        scale: Value that becomes 1.0.
    """

    path: Path
    location: str
    variable: str | None
    scale: float


@dataclass(frozen=True)
class Dataset:
    """Facts of a data set and, in subclasses, how its files are laid out.

    Attributes:
        name: What params.yaml calls it.
        title: What its makers call it.
        licence: Its name, or in two or three words what is allowed.
        doi: DOI of the publication, or the address where there is none.
        bands: Number of bands; None where the files decide.
        wavelength_nm: Centre of each band; empty where the files decide, or nothing is known.
        gsd_m: Ground sampling distance in m; None for a laboratory scene, or where the files decide.
        scale: Value in the opened cube that becomes 1.0.
        layout: How the scenes lie in a folder, in words for an error message.
        archives: What is downloaded; empty where nothing is.
        terms: What the publisher asks for beyond the licence.
        patterns: Names of the scenes' files in a folder and two levels below it, as of :meth:`pathlib.Path.glob`.
        scene: What the scene is called where there is but one; empty: as its file.
        variable: The array in files that hold several; None: the only one.
        drop_bands: Bands that are left out, counted from 1.
        ground_truth: Whether a scene is a clean reference by itself. Without, its cube is the reference at reduced
            resolution all the same (Wald's protocol), and nothing is known at full resolution.
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
        """The parameter that leaves bands out, for a message; None: there is none."""
        return None

    @property
    def size_bytes(self) -> int:
        """Size of the download."""
        return sum(archive.size_bytes for archive in self.archives)

    def configure(self, params: DatasetParams) -> "Dataset":
        """This data set as params.yaml wants it.

        Raises:
            ParamsError: The parameters do not fit.
        """
        if params.root is not None and not self.archives:
            raise ParamsError(
                f"dataset.root is {params.root!r}, but {self.name!r} is generated and read from nowhere; "
                "set it to null."
            )
        return self

    def fetch(self, cache: Path, *, patience: Patience | None = None) -> Path:
        """Download what the cache does not hold; gives the folder that :meth:`find` looks into."""
        place = cache / self.name
        for archive in self.archives:
            fetch(archive, place, patience=patience)
        return place

    def find(self, root: Path) -> Mapping[str, Path]:
        """The scenes in `root`, a person's folder: name -> what :func:`hsipipe.open_cube` opens.

        Raises:
            DataError: Two files would be scenes of one name.
        """
        found: dict[str, Path] = {}
        depths = ("", "*/", "*/*/")  # an archive has a folder of its own, and often another one in it
        for path in sorted({path for name in self.patterns for depth in depths for path in root.glob(depth + name)}):
            if is_hidden(path, root):
                continue
            name = self.scene_name(path)
            if name in found:
                raise DataError(f"Scene {name!r} is in {found[name]} and in {path}; keep one of them.")
            found[name] = path
        return found

    def scene_name(self, path: Path) -> str:
        """What the scene of a file is called."""
        return self.scene or path.stem

    def location(self, scene: str, path: Path) -> str:
        """Where the scene lies in the artifact, as :func:`hsipipe.open_cube` wants it."""
        return path.name if path.is_dir() else f"{scene}{path.suffix}"

    def files(self, scene: str, path: Path) -> Mapping[str, Path]:
        """What is copied of a scene that :meth:`find` gave: path in the artifact -> file."""
        return copies(path, self.location(scene, path))

    def msi(self, scene: str, path: Path) -> Measured | None:
        """The multispectral image that was measured with the scene, if there is one."""
        return None

    def read(self, path: Path) -> xr.DataArray:
        """The cube of a scene that :meth:`find` gave: every band, wavelengths as far as they are known.

        Raises:
            ParamsError: dataset.folder.wavelength_nm has another number of bands.
        """
        cube = formats.open_cube(path, variable=self.variable_in(path), bands=self.bands)
        if "wavelength_nm" not in cube.coords and len(self.wavelength_nm) == cube.sizes["band"]:
            cube = with_wavelengths(cube, self.wavelength_nm)
        return cube

    def variable_in(self, path: Path) -> str | None:
        """The array to ask a file for."""
        is_bands = path.is_dir() and path.suffix.lower() != ".zarr"
        return None if is_bands or path.suffix.lower() in _ONE_CUBE else self.variable

    def generate(self, params: SyntheticParams, out: Path) -> Mapping[str, Path] | None:
        """Make the scenes in `out`, as :meth:`find` gives them; None: this data set is not generated."""
        return None

    def presence(self, cache: Path) -> str:
        """Whether its scenes can be had without a network: "generated", "cached", "in part" or "not here"."""
        if not self.archives:
            return "generated"
        here = [is_cached(archive, cache / self.name) for archive in self.archives]
        return "cached" if all(here) else "in part" if any(here) else "not here"


def copies(path: Path, location: str) -> dict[str, Path]:
    """The files of a cube: path in the artifact, where the cube is at `location` -> file.

    A scene may itself be a link: that is how people and tools keep large ones. What lies in its folder is copied
    unread, so a link there must stay in it.

    Raises:
        DataError: A link in the cube's folder leads out of it, or to a folder or nowhere.
    """
    if path.is_dir():
        _check_links(path)
        # Not all that is hidden: Zarr of version 2 keeps its metadata so.
        files = sorted(f for f in path.rglob("*") if f.is_file() and not f.name.startswith(("._", ".DS_Store")))
        return {f"{location}/{file.relative_to(path).as_posix()}": file for file in files}
    stem = location.removesuffix(path.suffix)
    # Renamed with the cube: a header finds its data by the name.
    beside = {stem + other.name.removeprefix(path.stem): other for other in formats.companions(path) if other != path}
    return {location: path} | beside


def _check_links(folder: Path) -> None:
    for entry in sorted(folder.rglob("*")):
        if not entry.is_symlink():
            continue
        target = entry.resolve()
        if not (target.is_file() and target.is_relative_to(folder.resolve())):
            raise DataError(
                f"{entry} is a link to {target}, expected a file: a link in the folder of a scene may lead to files of "
                f"this folder alone. Take it away, or put the file itself there (cp -rL copies {folder.name} so)."
            )


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a part of the path below `root` is hidden; macOS adds ``._x`` and ``__MACOSX`` to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(root).parts)


def gsd_of(cube: xr.DataArray) -> float | None:
    """Ground sampling distance of a cube in m, where its file has a position in metres or the like."""
    crs, transform = crs_of(cube), transform_of(cube)
    if crs is None or transform is None or not crs.is_projected:
        return None
    _, metres = crs.linear_units_factor
    return round(float(np.sqrt(abs(transform.determinant)) * metres), 4)
