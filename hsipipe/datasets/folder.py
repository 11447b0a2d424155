"""`folder`: the user's own cubes, every file of a folder that :func:`hsipipe.open_cube` reads.

dataset.folder in params.yaml supplies metadata that the files lack. ``scene_msi.<ext>`` is the multispectral image of
``scene.<ext>``, measured on the same grid.
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
    """Cubes of one sensor, in any formats, directly in dataset.root."""

    @property
    def drop_param(self) -> str:
        """Name of the parameter that drops bands."""
        return "dataset.folder.drop_bands"

    def configure(self, params: DatasetParams) -> "FolderDataset":
        """Apply the settings of dataset.folder.

        Raises:
            ParamsError: dataset.root is not set.
        """
        if params.root is None:
            raise ParamsError(
                "dataset.root is null, but the data set 'folder' reads your own cubes; set it to their folder."
            )
        return replace(
            self,
            scale=params.folder.full_scale,
            variable=params.folder.variable,
            wavelength_nm=tuple(params.folder.wavelength_nm),
            drop_bands=tuple(sorted(set(params.folder.drop_bands))),
        )

    def is_place(self, root: Path) -> bool:
        """Return True for a folder of cubes, or the file of one cube."""
        return root.is_dir() or formats.is_cube(root)

    def find(self, root: Path) -> Mapping[str, Path]:
        """Find every cube in `root`, sorted; a scene is named after its file, without the suffix.

        Raises:
            DataError: The names of two files differ in the suffix alone.
        """
        if root.is_file():
            return {root.stem: root}
        return self.scenes(_cubes(root))

    def scenes(self, cubes: Mapping[str, Path]) -> dict[str, Path]:
        """Select the scenes among cubes by name; the others are multispectral images of these scenes."""
        return {name: path for name, path in cubes.items() if name.removesuffix(_MSI) not in cubes.keys() - {name}}

    def msi(self, scene: str, path: Path) -> Measured | None:
        """Return the cube ``<scene>_msi`` of the same folder, if there is one."""
        # Other cubes of the folder do not matter here, whatever is wrong with them.
        image = _cubes(path.parent, stem=f"{scene}{_MSI}").get(f"{scene}{_MSI}")
        if image is None:
            return None
        location = self.location(f"{scene}{_MSI}", image)
        return Measured(image, location, self.variable_in(image), self.scale)

    def files(self, scene: str, path: Path) -> Mapping[str, Path]:
        """List the files of the cube and of its multispectral image."""
        msi = self.msi(scene, path)
        return copies(path, self.location(scene, path)) | (copies(msi.path, msi.location) if msi else {})

    def read(self, path: Path) -> xr.DataArray:
        """Open the cube, with the wavelengths of dataset.folder if these are set.

        Raises:
            ParamsError: The number of wavelengths is not the number of bands, or a band to drop does not exist.
        """
        known = len(self.wavelength_nm) or None
        cube = formats.open_cube(path, variable=self.variable_in(path), bands=known)
        bands = cube.sizes["band"]
        if self.wavelength_nm and len(self.wavelength_nm) != bands:
            raise ParamsError(
                f"dataset.folder.wavelength_nm has {len(self.wavelength_nm)} values, expected {bands}: one for each "
                f"band of {path}, including those in drop_bands. Set an empty list to use the wavelengths of the files."
            )
        beyond = [band for band in self.drop_bands if band > bands]
        if beyond or len(self.drop_bands) >= bands:
            raise ParamsError(
                f"dataset.folder.drop_bands names {beyond or 'every band'}, expected some of the bands 1 to {bands} "
                f"of {path}."
            )
        return with_wavelengths(cube, self.wavelength_nm) if self.wavelength_nm else cube

    def presence(self, cache: Path) -> str:
        """Return "your own": the user provides the scenes."""
        return "your own"


def _cubes(root: Path, *, stem: str | None = None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    entries = (path for path in root.iterdir() if stem is None or path.stem == stem)
    for path in sorted(filter(formats.is_cube, entries)):
        if path.stem in found:
            raise DataError(
                f"Scene {path.stem!r} is in {found[path.stem]} and in {path}; rename one, or move it to another folder."
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
    layout="one file or folder per cube, in a format that `hsipipe info` reads; hidden files are ignored",
)
