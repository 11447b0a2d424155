"""`folder`: the user's own cubes, every file of a folder that :func:`hsipipe.open_cube` reads.

What the files do not say of themselves is in params.yaml under dataset.folder. ``scene_msi.<ext>`` beside
``scene.<ext>`` is its multispectral image, measured on the same grid.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import xarray as xr

from hsipipe import formats
from hsipipe.datasets.base import Dataset, Measured, copies
from hsipipe.errors import DataError, ParamsError
from hsipipe.formats.base import with_wavelengths
from hsipipe.params import DatasetParams

_MSI = "_msi"


class FolderDataset(Dataset):
    """Cubes that lie directly in dataset.root, of any formats, of one sensor."""

    @property
    def drop_param(self) -> str:
        """The parameter that leaves bands out."""
        return "dataset.folder.drop_bands"

    def configure(self, params: DatasetParams) -> Dataset:
        """Take over dataset.folder.

        Raises:
            ParamsError: There is no dataset.root.
        """
        if params.root is None:
            raise ParamsError(
                "dataset.root is null, but the data set 'folder' is your own cubes; set it to the folder they lie in."
            )
        return replace(
            self,
            scale=params.folder.full_scale,
            variable=params.folder.variable,
            wavelength_nm=tuple(params.folder.wavelength_nm),
            drop_bands=tuple(sorted(set(params.folder.drop_bands))),
        )

    def find(self, root: Path) -> Mapping[str, Path]:
        """Every cube in `root`, sorted; the name is that of the file without its suffix.

        Raises:
            DataError: Two files have the same name but for the suffix.
        """
        cubes = _cubes(root)
        return {name: path for name, path in cubes.items() if name.removesuffix(_MSI) not in cubes.keys() - {name}}

    def msi(self, scene: str, path: Path) -> Measured | None:
        """The cube called ``<scene>_msi`` beside it."""
        beside = _cubes(path.parent).get(f"{scene}{_MSI}")
        if beside is None:
            return None
        location = self.location(f"{scene}{_MSI}", beside)
        return Measured(beside, location, self.variable_in(beside), self.scale)

    def files(self, scene: str, path: Path) -> Mapping[str, Path]:
        """The cube with what belongs to it, and its multispectral image."""
        msi = self.msi(scene, path)
        return copies(path, self.location(scene, path)) | (copies(msi.path, msi.location) if msi else {})

    def read(self, path: Path) -> xr.DataArray:
        """The cube, with the wavelengths of dataset.folder where these are given.

        Raises:
            ParamsError: They are of another number of bands; or a band to drop is not there.
        """
        known = len(self.wavelength_nm) or None
        cube = formats.open_cube(path, variable=self.variable_in(path), bands=known)
        bands = cube.sizes["band"]
        if self.wavelength_nm and len(self.wavelength_nm) != bands:
            raise ParamsError(
                f"dataset.folder.wavelength_nm has {len(self.wavelength_nm)} values, expected {bands}: one for each "
                f"band of {path}, those of drop_bands too. An empty list takes what the files say."
            )
        beyond = [band for band in self.drop_bands if band > bands]
        if beyond or len(self.drop_bands) >= bands:
            raise ParamsError(
                f"dataset.folder.drop_bands names {beyond or 'every band'}, expected some of the bands 1 to {bands} "
                f"of {path}."
            )
        return with_wavelengths(cube, self.wavelength_nm) if self.wavelength_nm else cube

    def presence(self, cache: Path) -> str:
        """It is where the user says."""
        return "your own"


def _cubes(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(filter(formats.is_cube, root.iterdir())):
        if path.stem in found:
            raise DataError(
                f"Scene {path.stem!r} is in {found[path.stem]} and in {path}; rename one, or take it out of the folder."
            )
        found[path.stem] = path
    return found


FOLDER = FolderDataset(
    name="folder",
    title="Your own cubes",
    licence="your own",
    doi="",
    bands=None,
    wavelength_nm=(),
    gsd_m=None,
    scale=1.0,
    layout="one file or folder a cube, of a format that `hsipipe info` reads; hidden ones are ignored",
)
