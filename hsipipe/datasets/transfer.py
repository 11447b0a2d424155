"""Resumable HTTP download of one file, with retries, on top of pooch.

``.<name>.part`` holds the bytes received so far, and ``.<name>.part.json`` the version of the file. A download resumes
only if the server still has that version: by ETag or date (If-Range, RFC 9110, 13.1.5), or by size if the digest of the
whole file is known.
"""

import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import pooch
import requests
import urllib3

from hsipipe.credentials import public
from hsipipe.errors import HsipipeError
from hsipipe.json_text import parse_json
from hsipipe.progress import Advance
from hsipipe.storage.publish import write_text

logger = logging.getLogger(__name__)

SCHEMES = ("http", "https")
# Small, because an incomplete block is lost when the connection breaks.
_STEP = 1 << 14
_LONGEST_WAIT_S = 30.0
# Status codes of temporary failures.
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """Timeout and retries of a download.

    Attributes:
        timeout_s: Seconds without a byte until a connection times out.
        attempts: Consecutive attempts without progress until the download fails.
        wait: Called with the seconds to wait between two attempts: 1, 2, 4, ...
    """

    timeout_s: float = 60.0
    attempts: int = 5
    wait: Callable[[float], object] = time.sleep


class TransferError(HsipipeError):
    """The failure of a download; the message is the reason alone."""


@dataclass(frozen=True)
class Version:
    """Version of a file on a server; None where the server gives no value.

    Attributes:
        url: URL without secrets, see :func:`hsipipe.credentials.public`.
        etag: Entity tag.
        modified: Header Last-Modified, unparsed.
        size: Size of the whole file in bytes.
    """

    url: str
    etag: str | None
    modified: str | None
    size: int | None

    @property
    def condition(self) -> str | None:
        """Value for If-Range: a strong entity tag or the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def agrees(self, other: "Version") -> bool:
        """Return True if no value known to both versions differs."""
        pairs = ((self.etag, other.etag), (self.modified, other.modified), (self.size, other.size))
        return all(mine == theirs for mine, theirs in pairs if mine is not None and theirs is not None)


def pull(url: str, part: Path, *, digest_known: bool, patience: Patience, advance: Advance) -> bool:
    """Download a file completely, resuming `part` if the server still has the same version.

    Args:
        url: URL of the file, http or https.
        part: File of the bytes received so far; kept if the download fails.
        digest_known: True if the caller verifies the whole file.
        patience: Timeout and retries.
        advance: Updates a progress bar of bytes.

    Returns:
        True if the file consists of more than one response.

    Raises:
        TransferError: The download fails.
        OSError: The disk is full, or the folder is not writable.
    """
    failures, furthest = 0, _size(part)
    while True:
        try:
            return _attempt(url, part, digest_known, patience.timeout_s, advance)
        except requests.RequestException as error:
            # An attempt that made progress resets the count.
            failures = 1 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            reason = _reason(error, patience.timeout_s)
            is_over = failures >= patience.attempts
            if is_over or not _is_passing(error):
                if _size(part) == 0:
                    drop(part)
                raise TransferError(f"{reason}, {failures} times in a row" if is_over else reason) from error
        wait_s = min(2.0 ** (failures - 1), _LONGEST_WAIT_S)
        logger.info("%s: %s; retrying in %g s", public(url), reason, wait_s)
        advance(0, note=f"{reason}, retry in {wait_s:g} s")
        patience.wait(wait_s)


def drop(part: Path) -> None:
    """Delete a partial download."""
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def leaves_tls(url: str, target: str) -> bool:
    """Return True if a redirect of `url` to `target`, which may be relative, leaves https."""
    return urlsplit(url).scheme == "https" and urlsplit(urljoin(url, target)).scheme != "https"


def _attempt(url: str, part: Path, digest_known: bool, timeout_s: float, advance: Advance) -> bool:
    version, start = _resumable(url, part, digest_known)
    if version is not None and start == version.size:
        return True
    headers = {"Accept-Encoding": "identity"}  # so that sizes and ranges refer to the file
    if version is not None:
        headers["Range"] = f"bytes={start}-"
        if version.condition:
            headers["If-Range"] = version.condition
    with part.open("ab") as stream:
        landing = _Landing(url, stream, part, version, advance)
        download = pooch.HTTPDownloader(
            chunk_size=_STEP, timeout=timeout_s, headers=headers, hooks={"response": landing.answer}
        )
        download(url, landing, None)
        os.fsync(stream.fileno())
    landing.check_whole()
    return landing.continues


class _Broken(requests.ConnectionError):
    """An incomplete or changed file; the message contains no secrets."""


class _Unprotected(requests.RequestException):
    """A redirect from https to another scheme."""


class _Landing:
    """Sink of a download: requests passes each response to :meth:`answer`, then pooch writes the body to it."""

    def __init__(self, url: str, stream: IO[bytes], part: Path, version: Version | None, advance: Advance) -> None:
        self._url, self._stream, self._part, self._advance = url, stream, part, advance
        self._version = version
        self.continues = False

    def answer(self, response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        """Decide by status and headers if the partial download is resumed."""
        if response.is_redirect:
            if leaves_tls(response.url, response.headers["Location"]):
                raise _Unprotected
            return
        if not response.ok:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self._start_over()
            return
        start = self._stream.tell()
        version = _version(self._url, response)
        if response.status_code == requests.codes.partial_content:
            first = _first_byte(response)
            if self._version is None or first != start or not version.agrees(self._version):
                self._start_over()
            self.continues = True
        else:
            self._stream.truncate(0)
            self._version = version
            write_text(_version_file(self._part), json.dumps(asdict(version)) + "\n")
        self._advance(done=self._stream.tell() if self.continues else 0, total=version.size)

    def write(self, block: bytes) -> None:
        """Append a block."""
        self._stream.write(block)
        self._advance(len(block))

    def flush(self) -> None:
        """Flush to the operating system, so that the data survive this process."""
        self._stream.flush()

    def check_whole(self) -> None:
        """Compare the size with that given by the server."""
        size, expected = _size(self._part), self._version.size if self._version else None
        if expected is not None and size < expected:
            raise _Broken(f"got {size} of {expected} bytes")
        if expected is not None and size > expected:
            self._start_over()

    def _start_over(self) -> None:
        drop(self._part)
        raise _Broken("the file changed during the download")


def _version(url: str, response: requests.Response) -> Version:
    headers = response.headers
    if headers.get("Content-Encoding", "identity") != "identity":  # sizes do not refer to the file
        return Version(public(url), None, None, None)
    if response.status_code == requests.codes.partial_content:
        total = headers.get("Content-Range", "").rpartition("/")[2]
    else:
        total = headers.get("Content-Length", "")
    size = int(total) if total.isdecimal() else None
    return Version(public(url), headers.get("ETag"), headers.get("Last-Modified"), size)


def _first_byte(response: requests.Response) -> int | None:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    return int(match[1]) if match else None


def _resumable(url: str, part: Path, digest_known: bool) -> tuple[Version | None, int]:
    """Return version and size of the partial download; None and 0 if it cannot be resumed."""
    size = _size(part)
    try:
        version = Version(**parse_json(_version_file(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None, 0
    fits = version.url == public(url) and size > 0 and (version.size is None or size <= version.size)
    # Without ETag or date, only the digest of the whole file tells two versions apart.
    can_tell = version.condition is not None or (digest_known and version.size is not None)
    return (version, size) if fits and can_tell else (None, 0)


def _is_passing(error: requests.RequestException) -> bool:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in _TRY_AGAIN
    wrong = (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, _Unprotected)
    permanent = (*wrong, requests.TooManyRedirects)
    return not isinstance(error, (*permanent, requests.exceptions.SSLError)) and not _is_without_host(error)


def _reason(error: requests.RequestException, timeout_s: float) -> str:
    # Not the text of the error: it holds the whole URL, which may contain secrets.
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server returned {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return "the URL or a redirect is neither http nor https"
    if isinstance(error, _Unprotected):
        return "it redirects from https to an unencrypted connection, on which the file could be altered"
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of the server is invalid"
    if isinstance(error, requests.TooManyRedirects):
        return "too many redirects"
    if isinstance(error, _Broken):
        return str(error)
    if _is_without_host(error):
        return "unknown host, or no network"
    causes = list(_causes(error))
    if system := [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]:
        return f"no connection ({system[0]})"
    if any(isinstance(cause, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)) for cause in causes):
        return f"no data for {timeout_s:g} s"
    return "the connection broke"


def _is_without_host(error: requests.RequestException) -> bool:
    unknown = (urllib3.exceptions.NameResolutionError, socket.gaierror)
    return any(isinstance(cause, unknown) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, by ``__cause__``, ``__context__`` and the arguments of urllib3's errors."""
    waiting, seen = [error], set()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        linked = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        waiting += [link for link in linked if isinstance(link, BaseException)]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")
