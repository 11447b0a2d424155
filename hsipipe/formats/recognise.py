"""Recognise the format of a file or folder and list the files that make up a cube."""

from pathlib import Path

from hsipipe.errors import FileFormatError, HsipipeError, MissingInputError
from hsipipe.formats.base import CubeFormat
from hsipipe.formats.catalogue import FORMATS
from hsipipe.formats.products.catalogue import PRODUCTS
from hsipipe.storage.urls import Url


def recognise(path: Path) -> CubeFormat:
    """Return the product or format of a file or folder, judged by its name, its contents and the files next to it.

    Raises:
        MissingInputError: `path` does not exist.
        FileFormatError: No format recognises it.
    """
    if not path.exists():
        raise MissingInputError(f"No file or folder at {path}.")
    if not path.is_file() and not path.is_dir():
        raise FileFormatError(f"{path} is neither a file nor a folder")
    try:
        for form in (*PRODUCTS.values(), *FORMATS.values()):
            if form.recognises(path):
                return form
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    if path.is_dir():
        raise FileFormatError(
            f"{path} is a folder that holds neither a Zarr store nor bands as images (*_ms_01.png or band_1.png, ...), "
            "and no sensor product"
        )
    suffixes = sorted(suffix for form in FORMATS.values() for suffix in form.suffixes)
    raise FileFormatError(
        f"{path}: no format reads {path.suffix or 'a file without suffix'!r}; "
        f"known: {', '.join(suffixes)}, ENVI data with a header next to it, and folders of band images"
    )


def recognise_url(url: Url) -> CubeFormat:
    """Return the format of a remote file or folder by its name; one without a known suffix may be a Zarr store.

    Raises:
        FileFormatError: The format is not read over the network.
    """
    form = next((form for form in FORMATS.values() if url.suffix.lower() in form.suffixes), FORMATS["zarr"])
    if not form.reads_urls:
        raise FileFormatError(
            f"{url}: {form.title} is not read in parts over the network, only GeoTIFF and Zarr are; download it "
            f"(curl -fLO {url}), and name the file"
        )
    return form


def is_cube(path: Path) -> bool:
    """Return True if a listing should show `path` as a cube; its values are not read.

    An ENVI cube has two files and is listed once, as its header.
    """
    if path.name.startswith(".") or not path.exists():
        return False
    try:
        return recognise(path).is_main(path)
    except (HsipipeError, OSError):
        return False


def companions(path: Path) -> list[Path]:
    """List all files of a cube, sorted. Copied under the same names, they are the same cube.

    Raises:
        MissingInputError: `path` does not exist.
        FileFormatError: `path` is not a cube.
    """
    form = recognise(path)
    try:
        return form.files(path)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
