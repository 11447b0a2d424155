"""Bodies of requests become files in a folder of their own, and files are told by their first bytes."""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from hsipipe.datasets.archives import unpack_zip
from hsipipe.errors import FileFormatError
from hsipipe.formats.zarr_bombs import check_chunks, forget_consolidated
from hsipipe.formats.zarr_safety import check_store
from hsipipe.serving.failures import RequestError
from hsipipe.serving.limits import Limits

_MOST_FILES = 10_000
_STORE = ("zarr.json", ".zgroup", ".zarray")


@dataclass(frozen=True)
class Kind:
    """A form that cubes are sent in.

    Attributes:
        title: What people call it.
        suffix: Of the file.
        media: Its Content-Type in an answer.
        also: Other names of it in requests.
        magic: What its files begin with.
    """

    title: str
    suffix: str
    media: str
    also: tuple[str, ...]
    magic: tuple[bytes, ...]


NPY = Kind("NumPy .npy", ".npy", "application/x-npy", ("application/npy", "application/x-numpy"), (b"\x93NUMPY",))
ZARR = Kind("zipped Zarr store", ".zip", "application/zip", ("application/x-zip-compressed",), (b"PK\x03\x04",))
GEOTIFF = Kind("GeoTIFF", ".tif", "image/tiff", ("image/geotiff",), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
KINDS = (NPY, ZARR, GEOTIFF)
FORM = "multipart/form-data"
_PARTS = ("lr", "msi")


@dataclass(frozen=True)
class Upload:
    """A file that was sent, and its form."""

    path: Path
    kind: Kind


async def receive(request: Request, folder: Path) -> dict[str, Upload]:
    """Write the body of a request into a folder.

    Args:
        request: With a cube as its body, or with the parts lr and msi.
        folder: Existing and empty.

    Returns:
        ``lr`` and, if it was sent, ``msi``.

    Raises:
        RequestError: It holds something else.
        ClientDisconnect: The client has left.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media == FORM:
        return await _receive_form(request, folder)
    path = folder / "body"
    with path.open("wb") as file:
        async for block in request.stream():
            file.write(block)
    return {"lr": told(path, "lr", media)}


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
    return told(path, name, (part.content_type or "").split(";")[0].strip().lower())


def told(path: Path, name: str, media: str) -> Upload:
    """Tell the form of a file, and give it its name.

    Args:
        path: The file.
        name: What it is: ``lr`` or ``msi``.
        media: What the client calls its form; it need not.

    Raises:
        RequestError: It is of none that are known, or not what the client calls it.
    """
    with path.open("rb") as file:
        head = file.read(8)
    kind = next((kind for kind in KINDS if head.startswith(kind.magic)), None)
    said = next((kind for kind in KINDS if media in (kind.media, *kind.also)), None)
    if not head:
        raise RequestError(400, f"Got an empty {name}, expected a cube as {_known()}.")
    if kind is None:
        raise RequestError(415, f"{name} begins like no cube that is known, expected {_known()}.")
    if said not in (None, kind):
        raise RequestError(400, f"{name} begins like a {kind.title}, but is sent as {media}.")
    return Upload(path.rename(path.with_name(name + kind.suffix)), kind)


def _known() -> str:
    return ", ".join(f"{kind.title} ({kind.media})" for kind in KINDS)


def as_cube_path(upload: Upload, limits: Limits) -> Path:
    """What :func:`hsipipe.open_cube` opens: the file or, of a zipped store, the folder that it unpacks to.

    Raises:
        FileFormatError: The archive is damaged, reaches out of its folder or unpacks to too much, or its store names
            what is not harmless.
    """
    if upload.kind is not ZARR:
        return upload.path
    folder = upload.path.with_suffix(".zarr")
    folder.mkdir()
    unpack_zip(upload.path, folder, max_bytes=limits.body_bytes * 2, max_files=_MOST_FILES)
    store = _store_in(folder)
    forget_consolidated(store)
    check_store(store)
    check_chunks(store, most_bytes=limits.values * 4)
    return store


def _store_in(folder: Path) -> Path:
    """The store: all that was packed, or the only folder in it."""
    inside = [entry for entry in folder.iterdir() if entry.is_dir()]
    places: list[Path] = [folder, *(inside if len(inside) == 1 else [])]
    for place in places:
        if any((place / name).is_file() for name in _STORE):
            return place
    raise FileFormatError(f"the archive holds no Zarr store: no {' or '.join(_STORE)} at its top or in its one folder")


def media_types() -> Mapping[str, Mapping[str, object]]:
    """What may be sent, for the description of the interface."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    part = {"type": "string", "format": "binary"}
    form = {"schema": {"type": "object", "properties": dict.fromkeys(_PARTS, part), "required": ["lr"]}}
    return {**{kind.media: binary for kind in KINDS}, FORM: form}
