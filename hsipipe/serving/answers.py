"""Predict an uploaded cube as ``hsipipe predict`` does, and send the result file."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from dask.utils import key_split
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hsipipe.errors import FileFormatError, ModelInputError, ParamsError
from hsipipe.formats import open_cube, writer
from hsipipe.formats.base import DIMS, make_cube
from hsipipe.formats.netcdf import check_classic, save_classic
from hsipipe.formats.provenance import attach_provenance, provenance
from hsipipe.inference.guard import Guard
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
from hsipipe.inference.statistics import Statistic, guarded_statistics
from hsipipe.inference.wording import QUERY
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.serving.failures import RequestError
from hsipipe.serving.limits import LARGER, Limits
from hsipipe.serving.model import Loaded
from hsipipe.serving.predictions import Tick
from hsipipe.serving.preview import Envelope, Preview, preview_of
from hsipipe.serving.rehearsal import rehearse
from hsipipe.serving.uploads import NETCDF, NPY, Kind, Upload, Workspace

_MOST_NAMES = 1000
"""Size of Dask's cache of array names; its default is 100 000, and every request adds some."""
_BLOCK = 1 << 20
MOST_SAMPLES = 64
"""Most samples of a request; each takes as long as a prediction or longer."""


class Options(BaseModel):
    """Query of a prediction, with the names and defaults of ``hsipipe predict``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tile: Annotated[int, Field(description="Edge of a tile in LR pixels.")] = TILE
    overlap: Annotated[int, Field(description="LR pixels of context around a tile.")] = OVERLAP
    full_scale: Annotated[float, Field(description="Scale factor: value of input and result that maps to 1.0.")] = 1.0
    variable: Annotated[str | None, Field(description="Variable to read from a file with several.")] = None
    msi_full_scale: Annotated[float, Field(description="Value of the HR-MSI that maps to 1.0.")] = 1.0
    msi_variable: Annotated[str | None, Field(description="The same for the HR-MSI.")] = None
    other_wavelengths: Annotated[
        bool, Field(description="Accept bands of other wavelengths than those of the training.")
    ] = False
    samples: Annotated[
        int | None, Field(ge=2, le=MOST_SAMPLES, description="Samples from which a statistic is computed.")
    ] = None
    statistic: Annotated[
        str, Field(description="Statistic of the samples: mean (the prediction), std, or a quantile such as q0.05.")
    ] = "mean"
    guard: Annotated[Guard, Field(description="On doubtful results: warn, fallback (interpolate there) or off.")] = (
        "warn"
    )


@dataclass(frozen=True)
class Answer:
    """A result file, its format, notes for the user, and pictures where they were wanted."""

    path: Path
    kind: Kind
    notes: tuple[str, ...]
    preview: Preview | None = None


def check_options(options: Options) -> None:
    """Check the query before the body is read.

    Raises:
        ParamsError: A value is out of range.
    """
    check_tiles(options.tile, options.overlap, wording=QUERY)
    check_full_scale(options.full_scale, wording=QUERY)
    if Statistic.parse(options.statistic).kind != "mean" and options.samples is None:
        raise ParamsError(f"Got statistic={options.statistic} without samples; give their number with samples=8.")


def answer(
    loaded: Loaded,
    uploads: dict[str, Upload],
    options: Options,
    *,
    limits: Limits,
    before_tile: Tick,
    reserve: Callable[[int], None],
    pictured: bool = False,
) -> Answer:
    """Predict the uploads of a request.

    Args:
        loaded: Super-resolver and its version.
        uploads: ``lr`` and, for a fusion model, ``msi``.
        options: Query.
        limits: Limits of the server.
        before_tile: Called before each tile, and while a child reads a file; an error that it raises ends both.
        reserve: Called with the bytes of the answer before it is predicted; raises an error where they are too many.
        pictured: Make pictures, too; of a batch those of its first image.

    Raises:
        RequestError: A limit is exceeded.
        HsipipeError: As ``hsipipe predict``.
    """
    if key_split.cache_info().currsize > _MOST_NAMES:
        key_split.cache_clear()
    model, lr = loaded.model, uploads["lr"]
    rehearse(lr, variable=options.variable, bands=model.bands, limits=limits, while_waiting=before_tile)
    if "msi" in uploads:
        second = uploads["msi"]
        rehearse(second, variable=options.msi_variable, bands=model.msi_bands, limits=limits, while_waiting=before_tile)
    msi = None
    if "msi" in uploads:
        msi = MsiFile(uploads["msi"].path, options.msi_full_scale, options.msi_variable)
    check_msi_wanted(model, msi, wording=QUERY)
    images = _Images(model, options, limits, before_tile, reserve)
    batch = _batch(lr, options)
    if batch is not None:
        if msi is not None:
            raise ModelInputError(f"Got a batch {batch.shape} and an HR-MSI, expected one pair: lr (C, h, w).")
        return _answer_batch(images, batch, lr.path.with_name("sr.npy"), pictured=pictured)
    given = images.prepare(open_cube(lr.path, variable=options.variable, bands=model.bands), lr.path.name, msi)
    target = lr.path.with_name("sr" + lr.kind.suffix)
    if lr.kind is NETCDF:
        check_classic(given.lr.nbytes * model.scale**2)
    save = save_classic if lr.kind is NETCDF else writer(target).save
    facts = _provenance(loaded, uploads, options, given)
    sr, doubts = images.predict(given)
    result = attach_provenance(given.wrap(sr), facts).transpose(*DIMS)
    save(result, target)
    preview = preview_of(given.cube, result) if pictured else None
    return Answer(target, lr.kind, (*given.notes, *given.warnings(), *doubts), preview)


def _provenance(loaded: Loaded, uploads: Mapping[str, Upload], options: Options, given: Inputs) -> dict[str, str]:
    """Return the provenance of an answer; the place of the model is the server's own."""
    pinned = loaded.pinned
    return provenance(
        "model-server",
        inputs={"input" if name == "lr" else name: upload.path for name, upload in uploads.items()},
        model={"name": pinned.name, "version": pinned.version, "sha256": pinned.sha256},
        parameters=options.model_dump(),
        earlier=given.cube.attrs,
    )


@dataclass(frozen=True)
class _Images:
    """Prepare, check and predict the images of a request."""

    model: SuperResolver
    options: Options
    limits: Limits
    before_tile: Tick
    reserve: Callable[[int], None]

    def prepare(self, cube: xr.DataArray, name: str, msi: MsiFile | None = None) -> Inputs:
        return prepare(
            self.model,
            cube,
            name=name,
            full_scale=self.options.full_scale,
            msi=msi,
            other_wavelengths=self.options.other_wavelengths,
            wording=QUERY,
            admit=self._admit,
        )

    def predict(self, given: Inputs) -> tuple[NDArray[np.float32], list[str]]:
        """Predict an image; return it with what speaks against it."""
        statistic = Statistic.parse(self.options.statistic)
        (image,), told = guarded_statistics(
            given.model,
            given.lr,
            [statistic],
            count=None if statistic.kind == "mean" else self.options.samples,
            guard=self.options.guard,
            tile=self.options.tile,
            overlap=self.options.overlap,
            msi=given.msi,
            before_tile=self.before_tile,
        )
        return image, told

    def check_size(self, count: int, bands: int, height: int, width: int) -> None:
        """Check the size of a prediction (count, bands, height, width) before it is allocated."""
        values = count * bands * height * width
        if values > self.limits.values:
            raise RequestError(
                413,
                f"{count} x {bands} x {height} x {width} are {values} values, expected at most {self.limits.values}; "
                f"{LARGER}.",
                reason="values",
            )

    def check_tile(self, height: int, width: int) -> None:
        """Check the tile for an image (height, width); a tile larger than the image counts as the image."""
        if (edge := min(self.options.tile, max(height, width))) > self.limits.tile:
            raise RequestError(
                413, f"Got tiles of {edge} pixels, expected at most {self.limits.tile}; set tile.", reason="tile"
            )

    def _admit(self, cube: xr.DataArray, scale: int) -> None:
        bands, height, width = (cube.sizes[dim] for dim in DIMS)
        self.check_size(1, bands, height * scale, width * scale)
        if scale == self.model.scale:
            self.check_tile(height, width)
            self.reserve(4 * bands * (height * scale) * (width * scale))


def _batch(upload: Upload, options: Options) -> NDArray[np.generic] | None:
    """Map a batch (B, C, h, w) of a .npy; None for one cube or a damaged file."""
    if upload.kind is not NPY:
        return None
    try:
        values = np.load(upload.path, mmap_mode="r", allow_pickle=False)
    except Exception:  # the reader of cubes describes the damage
        return None
    if values.ndim != 4:
        return None
    if options.variable is not None:
        raise FileFormatError("a .npy file holds one array and no variables")
    if 0 in values.shape:
        raise ModelInputError(f"Got a batch {values.shape}, expected at least one image, band, row and column.")
    return np.asarray(values)


def _answer_batch(images: _Images, batch: NDArray[np.generic], path: Path, *, pictured: bool) -> Answer:
    count, bands, height, width = batch.shape
    scale = images.model.scale
    images.check_size(count, bands, height * scale, width * scale)
    shape, notes, preview = (count, bands, height * scale, width * scale), list[str](), None
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for number, image in enumerate(batch):
            given = images.prepare(make_cube(np.asarray(image)), f"image {number} of the batch")
            sr, doubts = images.predict(given)
            notes += [f"image {number}: {text}" for text in (*given.warnings(), *doubts)]
            result = given.wrap(sr)
            file.write(np.ascontiguousarray(result.to_numpy(), dtype="<f4").data)
            if pictured and preview is None:
                preview = preview_of(given.cube, result)
    return Answer(path, NPY, tuple(notes), preview)


class FileAnswer(Response):
    """Send a file of a workspace block by block, and hold the workspace until then."""

    def __init__(self, made: Answer, workspace: Workspace, *, headers: Mapping[str, str]) -> None:
        self._path, self._workspace = made.path, workspace
        media, self._head, self._tail = made.kind.media, b"", b""
        if made.preview is not None:
            form = Envelope.around(made.preview, suffix=made.kind.suffix, media=media, notes=made.notes)
            media, self._head, self._tail = form.media_type, form.head, form.tail
        length = len(self._head) + made.path.stat().st_size + len(self._tail)
        super().__init__(headers={**headers, "Content-Length": str(length)}, media_type=media)
        workspace.hold()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if self._head:
                await send({"type": "http.response.body", "body": self._head, "more_body": True})
            with self._path.open("rb") as file:
                while block := await asyncio.to_thread(file.read, _BLOCK):
                    await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": self._tail})
        finally:
            self._workspace.release()
