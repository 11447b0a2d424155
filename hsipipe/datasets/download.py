"""Verified downloads into a cache.

The cache has one folder per data set. A file gets its final name only after its sha256 is verified; an archive is
unpacked into the same folder. If the publisher gives no digest, the digest of the first download is recorded in
``datasets.lock.json`` in the cache and enforced for later downloads from any URL (trust on first use). The first
download itself is not protected.

Environment:
    HSIPIPE_CACHE: The cache folder.
    HSIPIPE_MIRROR: A URL (http, https) or a folder to try first for each file, by its file name.
    HSIPIPE_OFFLINE: 1: never use the network.
"""

import json
import logging
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pooch
from filelock import FileLock, Timeout

from hsipipe.credentials import public
from hsipipe.datasets.archives import folder_name, unpack
from hsipipe.datasets.transfer import SCHEMES, Patience, TransferError, drop, pull
from hsipipe.errors import FileFormatError, IntegrityError, MissingInputError, ParamsError, UnreachableError
from hsipipe.json_text import parse_json
from hsipipe.progress import Advance, progress
from hsipipe.storage.manifest import MANIFEST, sha256, verify
from hsipipe.storage.publish import publish, write_text

logger = logging.getLogger(__name__)

LOCK = "datasets.lock.json"
# File in an unpacked folder with the sha256 of its archive.
SOURCE = "ARCHIVE.sha256"


@dataclass(frozen=True)
class Archive:
    """A file to download: a zip or tar.gz, which is unpacked, or a plain file.

    Attributes:
        url: URL of the file. Its last part is the file name, and the whole URL is the key in the lock file.
        sha256: Digest in hexadecimal; None: trust on first use.
        size_bytes: Size in bytes, approximate if the publisher gives none.
        mirrors: Further URLs of the same bytes, tried in this order.
    """

    url: str
    sha256: str | None
    size_bytes: int
    mirrors: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """Last part of the URL."""
        return PurePosixPath(urlsplit(self.url).path).name


def cache_folder() -> Path:
    """Return the folder of the downloads: ``$HSIPIPE_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("HSIPIPE_CACHE")
    return Path(chosen) if chosen else Path(pooch.os_cache("hsipipe"))


def is_cached(archive: Archive, place: Path) -> bool:
    """Return True if `place` holds the file or its unpacked folder; the content is not verified."""
    if folder_name(archive.file_name) is None:
        return (place / archive.file_name).is_file()
    return _is_from(_target(archive, place), archive.sha256)


def fetch(archive: Archive, place: Path, *, patience: Patience | None = None) -> Path:
    """Download and unpack an archive, unless `place` already holds it.

    Args:
        archive: The file to download.
        place: Folder of the data set, ``<cache>/<name>``; the lock file lies one level above.
        patience: Timeout and number of attempts.

    Returns:
        The unpacked folder, or the plain file.

    Raises:
        MissingInputError: The download fails, or the cache is not writable.
        IntegrityError: The sha256 differs, and the download is discarded; or a file of the unpacked archive was
            changed.
        FileFormatError: The file does not match its suffix, or an entry of the archive lies outside its folder.
    """
    target = _target(archive, place)
    if _is_ready(archive, target, _expected(archive, place)):
        return target
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _hold(place):
            expected = _expected(archive, place)
            if not _is_ready(archive, target, expected):
                _obtain(archive, place, expected, patience or Patience())
    except OSError as error:
        if isinstance(error, MissingInputError):
            raise
        raise MissingInputError(
            f"The cache folder {place} cannot be made or written ({error.strerror or error}); free disk space or set "
            "HSIPIPE_CACHE to another folder."
        ) from error
    return target


def _obtain(archive: Archive, place: Path, expected: str | None, patience: Patience) -> None:
    file, part = place / archive.file_name, place / f".{archive.file_name}.part"
    source = file if _is_usable(file, expected) else part
    digest = sha256(file) if source is file else _download(archive, part, expected, patience)
    target = _target(archive, place)
    try:
        if target == file:
            _check_plain(source, archive)
        else:
            with publish(target) as temporary:
                unpack(source, temporary, name=public(archive.url), kind=archive.file_name)
                (temporary / SOURCE).write_text(digest + "\n", encoding="utf-8")
    except FileFormatError:
        drop(part)
        raise
    if expected is None:
        _record(archive, place.parent, digest)
    if source is part:
        os.replace(part, file)
        drop(part)


def _is_usable(file: Path, expected: str | None) -> bool:
    """Return True for a cached file with the expected digest, or without a known digest (placed there by hand)."""
    if not file.is_file():
        return False
    if expected is None or sha256(file) == expected:
        return True
    logger.warning("%s is damaged: expected sha256 %s; downloading it again", file, expected)
    return False


def _download(archive: Archive, part: Path, expected: str | None, patience: Patience) -> str:
    """Fill `part` from the first address that serves the expected bytes; return their sha256."""
    addresses = _addresses(archive)
    if not addresses:
        raise MissingInputError(
            f"{archive.file_name} is not in the cache {part.parent} and HSIPIPE_OFFLINE is set. Unset HSIPIPE_OFFLINE, "
            "copy the file into the cache, set HSIPIPE_MIRROR to a folder that holds it, or set dataset.root."
        )
    failures, wrong = [], None
    with progress(f"download {archive.file_name}", total=archive.size_bytes, unit="bytes") as advance:
        for address in addresses:
            try:
                got = _transfer(address, part, expected, patience=patience, advance=advance)
            except TransferError as error:
                failures.append(f"{public(address)}: {error}")
                continue
            if expected in (None, got):
                return got
            drop(part)
            wrong = wrong or (address, got)
    if wrong is not None:
        origin = "published" if archive.sha256 else f"recorded in {part.parent.parent / LOCK} at first use"
        raise IntegrityError(
            f"{public(wrong[0])} has sha256 {wrong[1]}, expected {expected} ({origin}). The download was discarded. "
            "Try again; if the error persists, the file at the source has changed."
        )
    asked = " HSIPIPE_OFFLINE is set, so no other address was tried." if _is_offline() else ""
    kept = "The partial download is kept and resumed next time. " if part.is_file() else ""
    raise UnreachableError(
        f"Cannot download {archive.file_name}: {'; '.join(failures)}.{asked} {kept}Check the network, set "
        "HSIPIPE_MIRROR to a mirror, or download the file by hand and set dataset.root to its folder."
    )


def _is_offline() -> bool:
    return os.environ.get("HSIPIPE_OFFLINE", "0").lower() not in ("", "0", "false", "no")


def _transfer(address: str, part: Path, expected: str | None, *, patience: Patience, advance: Advance) -> str:
    """Fill `part` from a URL or a local file; return the sha256 of its content."""
    if "://" not in address:
        if not Path(address).is_file():
            raise TransferError("no such file")
        drop(part)
        shutil.copyfile(address, part)
        return sha256(part)
    known = expected is not None
    continued = pull(address, part, digest_known=known, patience=patience, advance=advance)
    if continued and known and sha256(part) != expected:
        drop(part)  # possibly a mix of two versions, so start over once
        pull(address, part, digest_known=known, patience=patience, advance=advance)
    return sha256(part)


def _addresses(archive: Archive) -> list[str]:
    """List the addresses to try, in order: URLs, or the path of a file in a local mirror."""
    mirror = os.environ.get("HSIPIPE_MIRROR", "").rstrip("/")
    offline = _is_offline()
    addresses = [] if offline else [archive.url, *archive.mirrors]
    if not mirror:
        return addresses
    if "://" in mirror and urlsplit(mirror).scheme not in SCHEMES:
        raise ParamsError(f"HSIPIPE_MIRROR is {public(mirror)!r}, expected http://..., https://... or a folder.")
    if "://" in mirror:
        return addresses if offline else [f"{mirror}/{archive.file_name}", *addresses]
    return [str(Path(mirror).expanduser() / archive.file_name), *addresses]


def _target(archive: Archive, place: Path) -> Path:
    return place / (folder_name(archive.file_name) or archive.file_name)


def _is_ready(archive: Archive, target: Path, expected: str | None) -> bool:
    if folder_name(archive.file_name) is None:
        return expected is not None and target.is_file() and sha256(target) == expected
    if not _is_from(target, expected):
        return False
    verify(target)
    return True


def _is_from(folder: Path, expected: str | None) -> bool:
    """Return True if the folder is complete and was unpacked from the archive of this sha256; None: from any."""
    source = folder / SOURCE
    if not (folder / MANIFEST).is_file() or not source.is_file():
        return False
    return expected in (None, source.read_text(encoding="utf-8").strip())


def _check_plain(path: Path, archive: Archive) -> None:
    with path.open("rb") as stream:
        head = stream.read(512).lstrip().lower()
    if not head or head.startswith((b"<!doctype", b"<html", b"<?xml")):
        got = "a web page" if head else "an empty file"
        raise FileFormatError(
            f"{public(archive.url)} returned {got}, expected {archive.file_name}; the file may have moved. Download it "
            "by hand and set dataset.root to its folder."
        )


def _hold(folder: Path) -> AbstractContextManager[object]:
    """Lock the folder; a second process waits, and then finds the files of the first one."""
    lock = FileLock(folder / ".lock")
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        logger.info("another process downloads into %s; waiting for it", folder)
        return lock.acquire()


def _expected(archive: Archive, place: Path) -> str | None:
    return archive.sha256 or _recorded(place.parent).get(archive.url)


def _recorded(cache: Path) -> dict[str, str]:
    try:
        tree = parse_json((cache / LOCK).read_text(encoding="utf-8"))
        return {str(url): str(digest) for url, digest in tree["sha256"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{cache / LOCK} is damaged ({error}); restore it, or remove it to trust the next download."
        ) from error


def _record(archive: Archive, cache: Path, digest: str) -> None:
    with _hold(cache):
        digests = _recorded(cache) | {archive.url: digest}
        write_text(cache / LOCK, json.dumps({"sha256": digests}, indent=1, sort_keys=True) + "\n")
