"""Read the prepared scenes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hsipipe.artifacts.base import Artifact, read_index
from hsipipe.errors import DataError, IntegrityError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class RawScenes(Artifact):
    """Scenes as published, untouched, and ``scenes.json``: dataset, wavelengths, one entry a scene."""

    LOCATION: ClassVar[str] = "data/raw"
    INDEX: ClassVar[str] = "scenes.json"

    def index(self) -> dict[str, Any]:
        """Read ``scenes.json``.

        Raises:
            MissingInputError: The scenes were not published.
            IntegrityError: The file is damaged.
        """
        return read_index(self.path / self.INDEX, stage="download")

    def entry(self, name: str) -> dict[str, Any]:
        """The entry of one scene in ``scenes.json``.

        Raises:
            DataError: There is no such scene; the message lists them.
        """
        entries = {entry["name"]: entry for entry in self.index()["scenes"]}
        if name not in entries:
            raise DataError(f"No scene {name!r} in {self.path}; there are {', '.join(sorted(entries))}.")
        return dict(entries[name])

    def open(self, name: str) -> "xr.DataArray":
        """Open a scene (band, y, x), values divided by the data set's fixed scale factor: roughly [0, 1].

        Bands that the data set drops are gone. It is lazy where its format is.

        Raises:
            DataError: There is no such scene; the message lists them.
        """
        from hsipipe.formats import open_cube
        from hsipipe.formats.base import with_wavelengths

        index, entry = self.index(), self.entry(name)
        dropped = tuple(index.get("drop_bands", ()))
        # As many as were found when the scene was checked: an axis that had to be told then is told now.
        bands = int(entry["shape"][0]) + len(dropped)
        cube = open_cube(self.path / entry["path"], variable=entry.get("variable"), bands=bands)
        cube = keep_bands(cube, dropped)
        if entry["wavelength_nm"]:
            cube = with_wavelengths(cube, entry["wavelength_nm"])
        return _scaled(cube, index["scale"])

    def open_msi(self, name: str) -> "xr.DataArray":
        """Open the multispectral image that was measured with a scene, on the same grid: (band, y, x), roughly [0, 1].

        Raises:
            DataError: There is no such scene, or it has no such image.
        """
        from hsipipe.formats import open_cube

        msi = self.entry(name).get("msi")
        if msi is None:
            raise DataError(
                f"Scene {name!r} of {self.index()['dataset']!r} has no co-registered MSI. Set degradation.srf to "
                "the name of a sensor, which makes one, or leave the scene out of the split."
            )
        return _scaled(open_cube(self.path / msi["path"], variable=msi["variable"]), msi["scale"])

    def verify(self, name: str) -> None:
        """Compare the files of a scene with the sha256 that ``scenes.json`` recorded.

        Raises:
            IntegrityError: A file is missing or changed; the message names it.
        """
        from hsipipe.storage.manifest import sha256

        for file, expected in self.entry(name)["sha256"].items():
            path = self.path / file
            got = sha256(path) if path.is_file() else "no file"
            if got != expected:
                raise IntegrityError(
                    f"{path}: sha256 {got}, expected {expected} as recorded in {self.INDEX}. Run the stage download "
                    "again (dvc repro --force download)."
                )


def keep_bands(cube: "xr.DataArray", drop_bands: tuple[int, ...]) -> "xr.DataArray":
    """The cube without some bands, counted from 1; lazy if it is lazy."""
    if not drop_bands:
        return cube
    dropped = np.isin(np.arange(1, cube.sizes["band"] + 1), drop_bands)
    return cube.isel(band=np.flatnonzero(~dropped))


def _scaled(cube: "xr.DataArray", scale: float) -> "xr.DataArray":
    return cube if scale == 1 else (cube / np.float32(scale)).assign_attrs(cube.attrs)
