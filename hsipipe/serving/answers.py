"""One uploaded cube to one file with its prediction, by the same steps as ``hsipipe predict``."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from dask.utils import key_split
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hsipipe.errors import FileFormatError, ModelInputError
from hsipipe.formats import open_cube, writer
from hsipipe.formats.base import DIMS, make_cube
from hsipipe.inference.inputs import (
    OVERLAP,
    TILE,
    Inputs,
    check_full_scale,
    check_msi_wanted,
    check_tiles,
    prepare,
)
from hsipipe.inference.pair import MsiFile
from hsipipe.inference.scene import predict_scene
from hsipipe.inference.wording import QUERY
from hsipipe.methods.base import SuperResolver
from hsipipe.serving.failures import RequestError
from hsipipe.serving.limits import Limits
from hsipipe.serving.predictions import Tick
from hsipipe.serving.uploads import GEOTIFF, NPY, Kind, Upload, as_cube_path

_MOST_NAMES = 1000
"""Names of arrays that Dask may remember; by itself it keeps 100 000, and every request brings new ones."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every file in an archive, so that the same prediction is the same bytes."""


class Options(BaseModel):
    """The query of a prediction; names and defaults are those of ``hsipipe predict``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tile: Annotated[int, Field(description="Edge of a tile in input pixels.")] = TILE
    overlap: Annotated[int, Field(description="Input pixels of context around a tile.")] = OVERLAP
    full_scale: Annotated[float, Field(description="Value of the input that means 1.0; the result has it, too.")] = 1.0
    variable: Annotated[str | None, Field(description="Array to read, if a store holds several.")] = None
    msi_full_scale: Annotated[float, Field(description="Value of the HR-MSI that means 1.0.")] = 1.0
    msi_variable: Annotated[str | None, Field(description="Array of the HR-MSI, if its store holds several.")] = None


@dataclass(frozen=True)
class Answer:
    """A file to be sent, and what a person should know of it."""

    path: Path
    kind: Kind
    notes: tuple[str, ...]


def check_options(options: Options) -> None:
    """Check what can be checked before a body is read.

    Raises:
        ParamsError: A value is out of its range.
    """
    check_tiles(options.tile, options.overlap, wording=QUERY)
    check_full_scale(options.full_scale, wording=QUERY)


def answer(
    model: SuperResolver, uploads: dict[str, Upload], options: Options, *, limits: Limits, before_tile: Tick
) -> Answer:
    """Predict.

    Args:
        model: The super-resolver.
        uploads: ``lr`` and, for a model that fuses, ``msi``.
        options: Of the query.
        limits: Of the server.
        before_tile: Called before each tile; what it raises ends the prediction.

    Raises:
        RequestError: A limit is exceeded.
        HsipipeError: As ``hsipipe predict``.
    """
    if key_split.cache_info().currsize > _MOST_NAMES:
        key_split.cache_clear()
    lr = uploads["lr"]
    msi = None
    if "msi" in uploads:
        path = as_cube_path(uploads["msi"], limits)
        msi = MsiFile(path, options.msi_full_scale, options.msi_variable)
    check_msi_wanted(model, msi, wording=QUERY)
    images = _Images(model, options, limits, before_tile)
    batch = _batch(lr, options)
    if batch is not None:
        if msi is not None:
            raise ModelInputError(f"Got a batch {batch.shape} beside an HR-MSI, expected one pair: lr (C, h, w).")
        return Answer(*_write_batch(images, batch, lr.path.with_name("sr.npy")), ())
    path = as_cube_path(lr, limits)
    given = images.prepare(open_cube(path, variable=options.variable, bands=model.bands), path.name, msi)
    notes = (*given.notes, *given.warnings())
    return Answer(*_write(given.wrap(images.predict(given)), lr), notes)


@dataclass(frozen=True)
class _Images:
    """How images of a request are predicted."""

    model: SuperResolver
    options: Options
    limits: Limits
    before_tile: Tick

    def prepare(self, cube: xr.DataArray, name: str, msi: MsiFile | None = None) -> Inputs:
        full_scale = self.options.full_scale
        return prepare(self.model, cube, name=name, full_scale=full_scale, msi=msi, wording=QUERY, admit=self._admit)

    def predict(self, given: Inputs) -> NDArray[np.float32]:
        tile, overlap = self.options.tile, self.options.overlap
        return predict_scene(
            given.model, given.lr, tile=tile, overlap=overlap, msi=given.msi, before_tile=self.before_tile
        )

    def check_size(self, count: int, bands: int, height: int, width: int) -> None:
        """Check the values of a prediction (count, bands, height, width), of which none is allocated yet."""
        values = count * bands * height * width
        if values > self.limits.values:
            raise RequestError(
                413,
                f"{count} x {bands} x {height} x {width} are {values} values, expected at most {self.limits.values}; "
                "cut the cube.",
                reason="values",
            )

    def check_tile(self, height: int, width: int) -> None:
        """Check the tile of an image (height, width): what is larger than the image counts no more than it."""
        if (edge := min(self.options.tile, max(height, width))) > self.limits.tile:
            raise RequestError(
                413, f"Got tiles of {edge} pixels, expected at most {self.limits.tile}; set tile.", reason="tile"
            )

    def _admit(self, cube: xr.DataArray, scale: int) -> None:
        bands, height, width = (cube.sizes[dim] for dim in DIMS)
        self.check_size(1, bands, height * scale, width * scale)
        if scale == self.model.scale:
            self.check_tile(height, width)


def _batch(upload: Upload, options: Options) -> NDArray[np.generic] | None:
    """A batch (B, C, h, w) in a .npy, still in its file; None: it is one cube, or cannot be read."""
    if upload.kind is not NPY:
        return None
    try:
        values = np.load(upload.path, mmap_mode="r", allow_pickle=False)
    except Exception:  # whatever its header claims; the reader of cubes says it better
        return None
    if values.ndim != 4:
        return None
    if options.variable is not None:
        raise FileFormatError("a .npy file holds one array and no variables")
    if 0 in values.shape:
        raise ModelInputError(f"Got a batch {values.shape}, expected at least one image, band, row and column.")
    return np.asarray(values)


def _write_batch(images: _Images, batch: NDArray[np.generic], path: Path) -> tuple[Path, Kind]:
    count, bands, height, width = batch.shape
    scale = images.model.scale
    images.check_size(count, bands, height * scale, width * scale)
    shape = (count, bands, height * scale, width * scale)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for number, image in enumerate(batch):
            given = images.prepare(make_cube(np.asarray(image)), f"image {number} of the batch")
            sr = given.wrap(images.predict(given)).to_numpy()
            file.write(np.ascontiguousarray(sr, dtype="<f4").data)
    return path, NPY


def _write(cube: xr.DataArray, lr: Upload) -> tuple[Path, Kind]:
    """Write the prediction in the form of the upload."""
    target = lr.path.with_name("sr" + (lr.kind.suffix if lr.kind in (NPY, GEOTIFF) else ".zarr"))
    _, write = writer(target)
    write(cube.transpose(*DIMS), target)
    return (target if target.is_file() else _packed(target)), lr.kind


def _packed(folder: Path) -> Path:
    """A folder as an archive, without compression: its chunks are compressed."""
    target = folder.with_suffix(".zip")
    files: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            archive.writestr(info, path.read_bytes())
    return target
