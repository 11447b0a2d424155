"""Find the header of an ENVI data file and the data file of a header.

The rule is GDAL's: ``x.dat.hdr`` is the header of ``x.dat``, even if there is an ``x.hdr``. Where one header may
describe several files, nothing is guessed.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from hsipipe.errors import FileFormatError
from hsipipe.formats.envi_header import is_header, read_header
from hsipipe.formats.envi_layout import layout_of

SUFFIXES = ("", ".img", ".dat", ".raw", ".bil", ".bip", ".bsq", ".bin", ".cube", ".hsi", ".envi", ".sli", ".hyspex")
# Files that a scene may have under the same name, and that are not raw numbers.
_OTHER_FORMATS = (
    ".tif .tiff .png .jpg .jpeg .jp2 .bmp .gif .nc .nc4 .cdf .h5 .hdf5 .he5 .hdf .mat .npy .npz .zip .gz .bz2 .xz .tar"
).split()
_NO_DATA = [
    *_OTHER_FORMATS,
    *".hdr .txt .xml .json .yaml .yml .csv .log .md .html .pdf .prj .tfw .aux .ovr .msk .sta .enp .kml .roi".split(),
]
_ENDINGS = (".hdr", ".HDR", ".Hdr")


def header_of(data: Path) -> Path | None:
    """Return the header next to a data file, ``x.dat.hdr`` before ``x.hdr``, or None.

    Raises:
        FileFormatError: There are two, whose names differ in capitals alone.
    """
    own = _headers(data.with_name(data.name + ending) for ending in _ENDINGS)
    shared = [] if own else _headers(data.with_suffix(ending) for ending in _ENDINGS)
    found = [path for path in own or shared if path != data]
    if len(found) > 1:
        raise FileFormatError(f"{data.name} has two headers, {found[0].name} and {found[1].name}; remove one of them")
    return found[0] if found else None


def has_data(header: Path) -> bool:
    """Return True if there is a data file next to a header, or several."""
    return bool(_candidates(header))


def pair(path: Path) -> tuple[Path, Path]:
    """Return header and data file by the path of either.

    Raises:
        FileFormatError: One of them is missing, or the header may describe several files.
    """
    if path.suffix.lower() == ".hdr":
        header, found = path, _candidates(path)
    else:
        near = header_of(path)
        if near is None:
            raise FileFormatError(f"there is no ENVI header next to it; expected {path.name}.hdr")
        header = near
        found = list(dict.fromkeys([path, *_candidates(header)]))
    if not found:
        raise FileFormatError(_without_data(header))
    if len(found) > 1:
        least = layout_of(read_header(header)).nbytes
        fitting = [file for file in found if file.stat().st_size >= least]
        if len(fitting) != 1 or path not in (header, fitting[0]):
            names = " or ".join(sorted(file.name for file in fitting or found))
            described = path if path != header else next(file for file in found if file.suffix)
            raise FileFormatError(
                f"{header.name} may describe {names}; rename it after the file that it describes, {described.name}.hdr"
            )
        found = fitting
    return header, found[0]


def _headers(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:  # on a disk that ignores capitals, one file has all these names
        if path.is_file() and is_header(path) and not any(path.samefile(other) for other in found):
            found.append(path)
    return found


def _candidates(header: Path) -> list[Path]:
    """List the data files that a header may describe: those without a header of their own."""
    stem = header.with_suffix("")
    if stem.suffix.lower() not in ("", *_OTHER_FORMATS) and stem.is_file():  # x.dat of x.dat.hdr
        return [stem]
    near = [header.with_name(name) for name in sorted(os.listdir(header.parent)) if name.startswith(stem.name)]
    files = [path for path in near if path != header and path.stem == stem.name]
    files = [path for path in files if path.suffix.lower() not in _NO_DATA and path.is_file()]
    files = [path for path in files if header_of(path) == header]
    usual = [path for path in files if path.suffix.lower() in SUFFIXES]
    return usual or [path for path in files if path.stat().st_size >= _least_bytes(header)]


def _least_bytes(header: Path) -> int:
    """Return the size of the data by a header; 1 if the header is wrong, which is told when it is read."""
    try:
        return layout_of(read_header(header)).nbytes
    except FileFormatError:
        return 1


def _without_data(header: Path) -> str:
    stem = header.with_suffix("")
    images = [stem, *(stem.with_name(stem.name + suffix) for suffix in (".tif", ".tiff", ".TIF", ".TIFF"))]
    image = next((path for path in images if path.suffix.lower() in (".tif", ".tiff") and path.is_file()), None)
    if image is not None:
        return f"this header describes the TIFF {image.name}; open that file, its header is read with it"
    return (
        f"there is no data file next to this header; expected {stem.name} with one of the suffixes "
        f"{', '.join(filter(None, SUFFIXES))} or none"
    )
