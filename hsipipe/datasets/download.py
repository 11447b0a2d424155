"""Downloads that are checked before they are used.

The cache holds a folder for each data set. A file is kept there under its name only when its sha256 is right; an
archive is unpacked beside it. Where the publisher gives no digest, that of the first download is written to
``datasets.lock.json`` in the cache and enforced from then on (trust on first use): the first download itself is
not protected by it, only every later one, from whatever address it comes.

Environment:
    HSIPIPE_CACHE: The cache folder.
    HSIPIPE_MIRROR: An address (http, https) or a folder; each file is asked for there first, by its file name.
    HSIPIPE_OFFLINE: 1: the network is never used.
"""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pooch

from hsipipe.credentials import public
from hsipipe.datasets.archives import folder_name, unpack
from hsipipe.datasets.transfer import SCHEMES, Patience, TransferError, drop, pull
from hsipipe.errors import FileFormatError, IntegrityError, MissingInputError, ParamsError, UnreachableError
from hsipipe.progress import Advance, progress
from hsipipe.storage.manifest import MANIFEST, sha256, verify
from hsipipe.storage.publish import publish, write_text

logger = logging.getLogger(__name__)

LOCK = "datasets.lock.json"
# In an unpacked folder: the sha256 of the archive that it came from.
SOURCE = "ARCHIVE.sha256"


@dataclass(frozen=True)
class Archive:
    """A file to download: a zip or tar.gz, which is unpacked, or a plain file.

    Attributes:
        url: Its address. It names the file: the last part is the file name, the whole is the key in the lock.
        sha256: Its digest in hexadecimal; None: trust on first use.
        size_bytes: Its size, roughly where the publisher gives none.
        mirrors: Further addresses of the same bytes, asked in this order.
    """

    url: str
    sha256: str | None
    size_bytes: int
    mirrors: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name


def cache_folder() -> Path:
    """Where downloads are kept: ``$HSIPIPE_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("HSIPIPE_CACHE")
    return Path(chosen) if chosen else Path(pooch.os_cache("hsipipe"))


def is_cached(archive: Archive, place: Path) -> bool:
    """Whether the file, or what it unpacks to, lies in `place`; the bytes are not looked at."""
    if folder_name(archive.file_name) is None:
        return (place / archive.file_name).is_file()
    return _is_from(_target(archive, place), archive.sha256)


def fetch(archive: Archive, place: Path, *, patience: Patience | None = None) -> Path:
    """Download and unpack an archive, unless `place` holds it.

    Args:
        archive: What to download.
        place: The data set's folder, ``<cache>/<name>``; the lock file lies above it.
        patience: When to give up.

    Returns:
        The folder with the content of an archive, or the plain file.

    Raises:
        MissingInputError: It cannot be downloaded, or the cache cannot be written.
        IntegrityError: Its sha256 is not the expected one, and nothing is kept; or a file of the unpacked archive
            changed since.
        FileFormatError: It is not what its name says, or an archive that reaches out of its folder.
    """
    target = _target(archive, place)
    if _is_ready(archive, target, _expected(archive, place)):
        return target
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _alone(place):
            expected = _expected(archive, place)
            if not _is_ready(archive, target, expected):
                _obtain(archive, place, expected, patience or Patience())
    except OSError as error:
        if isinstance(error, MissingInputError):
            raise
        raise MissingInputError(
            f"The cache folder {place} cannot be made or written ({error.strerror or error}); free some space or set "
            "HSIPIPE_CACHE to another folder."
        ) from error
    return target


def _obtain(archive: Archive, place: Path, expected: str | None, patience: Patience) -> None:
    file, part = place / archive.file_name, place / f".{archive.file_name}.part"
    source = file if _is_right(file, expected) else part
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


def _is_right(file: Path, expected: str | None) -> bool:
    """Whether a file that lies in the cache can be used: of the right digest, or put there by hand (first use)."""
    if not file.is_file():
        return False
    if expected is None or sha256(file) == expected:
        return True
    logger.warning("%s is damaged, its sha256 is not %s; it is downloaded again", file, expected)
    return False


def _download(archive: Archive, part: Path, expected: str | None, patience: Patience) -> str:
    """Fill `part` from the first address that gives the right bytes; gives their sha256."""
    addresses = _addresses(archive)
    if not addresses:
        raise MissingInputError(
            f"{archive.file_name} is not in the cache {part.parent} and HSIPIPE_OFFLINE is set. Unset it, put the "
            f"file there by hand, name a folder that holds it in HSIPIPE_MIRROR, or set dataset.root."
        )
    failures, wrong = [], None
    with progress(f"download {archive.file_name}", total=archive.size_bytes, unit="bytes") as advance:
        for address in addresses:
            try:
                got = _bring(address, part, expected, patience=patience, advance=advance)
            except TransferError as error:
                failures.append(f"{public(address)}: {error}")
                continue
            if expected in (None, got):
                return got
            drop(part)
            wrong = wrong or (address, got)
    if wrong is not None:
        origin = "published for it" if archive.sha256 else f"recorded in {part.parent.parent / LOCK} at first use"
        raise IntegrityError(
            f"{public(wrong[0])} has sha256 {wrong[1]}, expected {expected} ({origin}). Nothing was kept. "
            "Try again; if it stays so, the file at the source has changed."
        )
    asked = " HSIPIPE_OFFLINE is set, so no other address was asked." if _is_offline() else ""
    kept = "What came is kept and continued the next time. " if part.is_file() else ""
    raise UnreachableError(
        f"Cannot download {archive.file_name}: {'; '.join(failures)}.{asked} {kept}Check the network, name a mirror in "
        "HSIPIPE_MIRROR, or fetch it by hand and name its folder in dataset.root."
    )


def _is_offline() -> bool:
    return os.environ.get("HSIPIPE_OFFLINE", "0").lower() not in ("", "0", "false", "no")


def _bring(address: str, part: Path, expected: str | None, *, patience: Patience, advance: Advance) -> str:
    """Fill `part` from an address or a local file; gives the sha256 of what came."""
    if "://" not in address:
        if not Path(address).is_file():
            raise TransferError("there is no such file")
        drop(part)
        shutil.copyfile(address, part)
        return sha256(part)
    known = expected is not None
    continued = pull(address, part, digest_known=known, patience=patience, advance=advance)
    if continued and known and sha256(part) != expected:
        drop(part)  # of two versions, perhaps: once more from the start
        pull(address, part, digest_known=known, patience=patience, advance=advance)
    return sha256(part)


def _addresses(archive: Archive) -> list[str]:
    """Where to ask, in this order; a local folder is given as a path."""
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
    """Whether the folder was published and unpacked from the archive of this sha256; None: from any."""
    source = folder / SOURCE
    if not (folder / MANIFEST).is_file() or not source.is_file():
        return False
    return expected in (None, source.read_text(encoding="utf-8").strip())


def _check_plain(path: Path, archive: Archive) -> None:
    with path.open("rb") as stream:
        head = stream.read(512).lstrip().lower()
    if not head or head.startswith((b"<!doctype", b"<html", b"<?xml")):
        what = "a web page" if head else "an empty file"
        raise FileFormatError(f"{public(archive.url)} gives {what} and not {archive.file_name}; it may have moved.")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder while the body runs; a second process waits, and finds what the first one made."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process downloads into %s; waiting for it", folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _expected(archive: Archive, place: Path) -> str | None:
    return archive.sha256 or _locked(place.parent).get(archive.url)


def _locked(cache: Path) -> dict[str, str]:
    try:
        tree = json.loads((cache / LOCK).read_text(encoding="utf-8"))
        return {str(url): str(digest) for url, digest in tree["sha256"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{cache / LOCK} is damaged ({error}); restore it, or remove it to trust the next download anew."
        ) from error


def _record(archive: Archive, cache: Path, digest: str) -> None:
    with _alone(cache):
        digests = _locked(cache) | {archive.url: digest}
        write_text(cache / LOCK, json.dumps({"sha256": digests}, indent=1, sort_keys=True) + "\n")
