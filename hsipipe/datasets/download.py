"""Downloads that are checked before they are used.

A file is kept under its name in the cache only when its sha256 is right. Where the publisher gives no
digest, that of the first download is written to ``datasets.lock.json`` in the cache and enforced from then
on (trust on first use): the first download itself is not protected by it, only every later one.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pooch

from hsipipe.datasets.archives import check_zip, unpack_zip
from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.progress import progress
from hsipipe.storage.manifest import MANIFEST, sha256, verify
from hsipipe.storage.publish import atomic_file, publish, write_text

LOCK = "datasets.lock.json"
# In an unpacked folder: the sha256 of the archive that it came from.
SOURCE = "ARCHIVE.sha256"
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Archive:
    """A zip file to download.

    Attributes:
        url: Its address.
        sha256: Its digest in hexadecimal; None: trust on first use.
        size_bytes: Its size, roughly where the publisher gives none.
    """

    url: str
    sha256: str | None
    size_bytes: int

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name


def cache_folder() -> Path:
    """Where downloads are kept: ``$HSIPIPE_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("HSIPIPE_CACHE")
    return Path(chosen) if chosen else Path(pooch.os_cache("hsipipe"))


def is_cached(archive: Archive, cache: Path) -> bool:
    """Whether the unpacked archive lies in the cache; its files are not looked at."""
    return _is_from(_folder(archive, cache), archive.sha256)


def fetch(archive: Archive, cache: Path) -> Path:
    """Download and unpack an archive, unless the cache holds it.

    Returns:
        The folder with the content.

    Raises:
        MissingInputError: It cannot be downloaded, or the cache cannot be made.
        IntegrityError: Its sha256 is not the expected one, and nothing is kept; or a file of the unpacked archive
            changed since.
        FileFormatError: It is no zip file, or a zip file that reaches out of its folder.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingInputError(
            f"The cache folder {cache} cannot be made ({error.strerror}); set HSIPIPE_CACHE to a folder."
        ) from error
    folder = _folder(archive, cache)
    expected = archive.sha256 or _locked(cache).get(archive.url)
    if _is_from(folder, expected):
        verify(folder)
        return folder
    file = cache / archive.file_name
    if not (file.is_file() and expected is not None and sha256(file) == expected):
        _download(archive, file, expected)
    with publish(folder) as temporary:
        unpack_zip(file, temporary, name=archive.url)
        (temporary / SOURCE).write_text(sha256(file) + "\n", encoding="utf-8")
    return folder


def _download(archive: Archive, file: Path, expected: str | None) -> None:
    with atomic_file(file) as temporary:
        _transfer(archive, temporary)
        got = sha256(temporary)
        if expected is not None and got != expected:
            source = "published for it" if archive.sha256 else f"recorded in {file.parent / LOCK} at first use"
            raise IntegrityError(
                f"{archive.url} has sha256 {got}, expected {expected} ({source}). Nothing was kept. "
                "Try again; if it stays so, the file at the source has changed."
            )
        check_zip(temporary, name=archive.url)
        if expected is None:
            _record(archive, file.parent, got)


def _transfer(archive: Archive, target: Path) -> None:
    try:
        with progress(f"download {archive.file_name}", total=archive.size_bytes) as advance:
            bar = _Bar(advance)
            pooch.HTTPDownloader(progressbar=bar, timeout=_TIMEOUT_S)(archive.url, str(target), None)
    except OSError as error:
        raise MissingInputError(
            f"Cannot download {archive.url}: {' '.join(str(error).split())}. Fetch it by hand, unpack it and name "
            "its folder in dataset.root, or check the network and try again."
        ) from error


class _Bar:
    """The part of tqdm's interface that pooch uses, drawn by our own bar."""

    def __init__(self, advance: object) -> None:
        self.total = 0
        self._advance = advance

    def update(self, n: int) -> None:
        if callable(self._advance):
            self._advance(n)

    def reset(self) -> None:
        self._advance = None

    def close(self) -> None:
        self._advance = None


def _folder(archive: Archive, cache: Path) -> Path:
    return cache / PurePosixPath(archive.file_name).stem


def _is_from(folder: Path, expected: str | None) -> bool:
    """Whether the folder was published and unpacked from the archive of this sha256; None: from any."""
    source = folder / SOURCE
    if not (folder / MANIFEST).is_file() or not source.is_file():
        return False
    return expected in (None, source.read_text(encoding="utf-8").strip())


def _locked(cache: Path) -> dict[str, str]:
    try:
        tree = json.loads((cache / LOCK).read_text(encoding="utf-8"))
        return {str(url): str(digest) for url, digest in tree["sha256"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{cache / LOCK} is damaged ({error}); restore it, or remove it to trust the next download anew."
        ) from error


def _record(archive: Archive, cache: Path, digest: str) -> None:
    digests = _locked(cache) | {archive.url: digest}
    write_text(cache / LOCK, json.dumps({"sha256": digests}, indent=1, sort_keys=True) + "\n")
