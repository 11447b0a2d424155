"""Receive cubes: write request bodies to a temporary folder and detect file formats by their first bytes."""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from hsipipe.serving.failures import RequestError
from hsipipe.serving.guard import Space

_HDF5 = b"\x89HDF"


@dataclass(frozen=True)
class Kind:
    """A file format of requests and answers.

    Attributes:
        title: Name in messages.
        suffix: Suffix of the file.
        media: Content-Type of answers.
        also: Other accepted Content-Types.
        magic: Possible first bytes of a file.
    """

    title: str
    suffix: str
    media: str
    also: tuple[str, ...]
    magic: tuple[bytes, ...]


NPY = Kind("NumPy .npy", ".npy", "application/x-npy", ("application/npy", "application/x-numpy"), (b"\x93NUMPY",))
NETCDF = Kind("classic NetCDF", ".nc", "application/x-netcdf", ("application/netcdf",), (b"CDF\x01", b"CDF\x02"))
GEOTIFF = Kind("GeoTIFF", ".tif", "image/tiff", ("image/geotiff",), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
KINDS = (NPY, NETCDF, GEOTIFF)
FORM = "multipart/form-data"
_PARTS = ("lr", "msi")


@dataclass(frozen=True)
class Upload:
    """A received file and its format."""

    path: Path
    kind: Kind


class Workspace:
    """Temporary folder of a request, removed at its last release: by the request, its worker or its answer.

    The caller of the constructor is the first holder.

    Args:
        space: Disk space taken by the uploads and the answer; given back with the folder.
    """

    def __init__(self, space: Space) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="hsipipe-request-"))
        self._space, self._holders, self._lock = space, 1, threading.Lock()

    def reserve(self, nbytes: int) -> None:
        """Count the answer that is about to be written.

        Raises:
            RequestError: The disk space of the server is taken.
        """
        self._space.take(nbytes)

    def hold(self) -> None:
        """Keep the folder until one more :meth:`release`."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """Release the folder once, from any thread."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            shutil.rmtree(self.path, ignore_errors=True)
            self._space.give_back()


async def receive(request: Request, folder: Path) -> dict[str, Upload]:
    """Write the body of a request into a folder.

    Args:
        request: Its body is one cube, or multipart/form-data with the parts lr and msi.
        folder: Existing and empty.

    Returns:
        ``lr`` and, where sent, ``msi``.

    Raises:
        RequestError: The body is not a known format.
        ClientDisconnect: The client disconnected.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media == FORM:
        return await _receive_form(request, folder)
    path = folder / "body"
    with path.open("wb") as file:
        async for block in request.stream():
            file.write(block)
    return {"lr": _identify(path, "lr", media)}


async def _receive_form(request: Request, folder: Path) -> dict[str, Upload]:
    try:
        form = await request.form(max_files=len(_PARTS), max_fields=0)
    except HTTPException as error:
        raise RequestError(400, f"The multipart/form-data is damaged: {error.detail}") from error
    try:
        parts = form.multi_items()
        names = sorted(name for name, _ in parts)
        files = {name: part for name, part in parts if isinstance(part, UploadFile)}
        if "lr" not in files or len(files) < len(parts) or not set(files) <= set(_PARTS):
            raise RequestError(
                400, f"Got the parts {', '.join(names) or 'none'}, expected lr and for a fusion model msi, each a file."
            )
        return {name: await asyncio.to_thread(_store, part, folder, name) for name, part in files.items()}
    finally:
        await form.close()


def _store(part: UploadFile, folder: Path, name: str) -> Upload:
    path = folder / f"{name}.part"
    with path.open("wb") as file:
        shutil.copyfileobj(part.file, file)
    return _identify(path, name, (part.content_type or "").split(";")[0].strip().lower())


def _identify(path: Path, name: str, media: str) -> Upload:
    """Detect the format of a file, and rename the file accordingly.

    Args:
        path: The file.
        name: ``lr`` or ``msi``.
        media: Content-Type given by the client, or empty.

    Raises:
        RequestError: The format is unknown or contradicts `media`.
    """
    with path.open("rb") as file:
        head = file.read(8)
    kind = next((kind for kind in KINDS if head.startswith(kind.magic)), None)
    claimed = next((kind for kind in KINDS if media in (kind.media, *kind.also)), None)
    known = ", ".join(f"{kind.title} ({kind.media})" for kind in KINDS)
    if not head:
        raise RequestError(400, f"Got an empty {name}, expected a cube as {known}.")
    if head.startswith(_HDF5):
        raise RequestError(415, f"{name} is NetCDF-4 or HDF5, expected {known}; convert it with nccopy -k nc6.")
    if kind is None:
        raise RequestError(415, f"{name} begins like no known cube, expected {known}.")
    if claimed not in (None, kind):
        raise RequestError(400, f"{name} begins like {kind.title}, but its Content-Type is {media}.")
    return Upload(path.rename(path.with_name(name + kind.suffix)), kind)


def media_types() -> Mapping[str, Mapping[str, object]]:
    """Return the accepted request bodies for the OpenAPI description."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    part = {"type": "string", "format": "binary"}
    form = {"schema": {"type": "object", "properties": dict.fromkeys(_PARTS, part), "required": ["lr"]}}
    return {**{kind.media: binary for kind in KINDS}, FORM: form}
