"""One file over HTTP, by pooch: goes on where it stopped, tries again, and gives up with a reason.

What has arrived lies in ``.<name>.part``, and ``.<name>.part.json`` says of which version it is. It is continued
only if the server still has that version: by its ETag or date (If-Range, RFC 9110, 13.1.5), or by its size where
the digest of the whole file is known and will tell.
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
from hsipipe.progress import Advance
from hsipipe.storage.publish import write_text

logger = logging.getLogger(__name__)

SCHEMES = ("http", "https")
# What arrived of a block that breaks off is lost, so blocks are small.
_STEP = 1 << 14
_LONGEST_WAIT_S = 30.0
# The server may answer otherwise the next time.
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """When to give up.

    Attributes:
        timeout_s: Seconds without a byte after which a connection counts as dead.
        attempts: Attempts one after another that bring the file no further.
        wait: Is given the seconds between two attempts: 1, 2, 4, ...
    """

    timeout_s: float = 60.0
    attempts: int = 5
    wait: Callable[[float], object] = time.sleep


class TransferError(HsipipeError):
    """An address that does not give its file; the message is the reason alone."""


@dataclass(frozen=True)
class Version:
    """Which version of a file a server gave.

    Attributes:
        url: Its address, as far as :func:`hsipipe.credentials.public` shows it.
        etag: Entity tag; None: not told.
        modified: Last-Modified as the server writes it; None: not told.
        size: Bytes of the whole file; None: not told.
    """

    url: str
    etag: str | None
    modified: str | None
    size: int | None

    @property
    def condition(self) -> str | None:
        """For If-Range: a strong entity tag or the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def agrees(self, other: "Version") -> bool:
        """Whether nothing that both know differs."""
        pairs = ((self.etag, other.etag), (self.modified, other.modified), (self.size, other.size))
        return all(mine == theirs for mine, theirs in pairs if mine is not None and theirs is not None)


def pull(url: str, part: Path, *, digest_known: bool, patience: Patience, advance: Advance) -> bool:
    """Download a file to its end, continuing `part` if the server still has the same version.

    Args:
        url: Its address, http or https.
        part: What has arrived; kept when this fails.
        digest_known: Whether the caller can tell a wrong whole.
        patience: When to give up.
        advance: Moves a bar that counts bytes.

    Returns:
        Whether the file was put together of more than one answer.

    Raises:
        TransferError: The address does not give it.
        OSError: The disk is full, or the folder cannot be written.
    """
    failures, furthest = 0, _size(part)
    while True:
        try:
            return _attempt(url, part, digest_known, patience.timeout_s, advance)
        except requests.RequestException as error:
            # An attempt that brought something new does not count against the patience.
            failures = 1 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            reason = _reason(error, patience.timeout_s)
            is_over = failures >= patience.attempts
            if is_over or not _is_passing(error):
                if _size(part) == 0:
                    drop(part)
                raise TransferError(f"{reason}, {failures} times one after another" if is_over else reason) from error
        wait_s = min(2.0 ** (failures - 1), _LONGEST_WAIT_S)
        logger.info("%s: %s; trying again", public(url), reason)
        advance(0, note=f"{reason}, again in {wait_s:g} s")
        patience.wait(wait_s)


def drop(part: Path) -> None:
    """Forget what has arrived."""
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def leaves_tls(url: str, target: str) -> bool:
    """Whether a redirect of `url` to `target`, which may be relative, goes from https to anything else."""
    return urlsplit(url).scheme == "https" and urlsplit(urljoin(url, target)).scheme != "https"


def _attempt(url: str, part: Path, digest_known: bool, timeout_s: float, advance: Advance) -> bool:
    version, start = _resumable(url, part, digest_known)
    if version is not None and start == version.size:
        return True
    headers = {"Accept-Encoding": "identity"}  # sizes and ranges are those of the file
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
    """What came is not the file; the message may be shown as it is."""


class _Unprotected(requests.RequestException):
    """A redirect gives up TLS."""


class _Landing:
    """The end of a download on this machine: pooch writes to it, requests shows it each answer first."""

    def __init__(self, url: str, stream: IO[bytes], part: Path, version: Version | None, advance: Advance) -> None:
        self._url, self._stream, self._part, self._advance = url, stream, part, advance
        self._version = version
        self.continues = False

    def answer(self, response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        """Decide on a status and headers whether what has arrived is continued."""
        if response.is_redirect:
            if leaves_tls(response.url, response.headers["Location"]):
                raise _Unprotected
            return
        if not response.ok:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self._start_over()
            return
        start = self._stream.tell()
        told = _told(self._url, response)
        if response.status_code == requests.codes.partial_content:
            first = _first_byte(response)
            if self._version is None or first != start or not told.agrees(self._version):
                self._start_over()
            self.continues = True
        else:
            self._stream.truncate(0)
            self._version = told
            write_text(_version_file(self._part), json.dumps(asdict(told)) + "\n")
        self._advance(done=self._stream.tell() if self.continues else 0, total=told.size)

    def write(self, block: bytes) -> None:
        """Take a block."""
        self._stream.write(block)
        self._advance(len(block))

    def flush(self) -> None:
        """Hand everything to the system, so that it survives this process."""
        self._stream.flush()

    def check_whole(self) -> None:
        """Compare the size with what the server told."""
        size, told = _size(self._part), self._version.size if self._version else None
        if told is not None and size < told:
            raise _Broken(f"{size} of {told} bytes came")
        if told is not None and size > told:
            self._start_over()

    def _start_over(self) -> None:
        drop(self._part)
        raise _Broken("the file changed since the download began")


def _told(url: str, response: requests.Response) -> Version:
    headers = response.headers
    if headers.get("Content-Encoding", "identity") != "identity":  # its sizes are not those of the file
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
    """The version of what has arrived and its size; None and 0 if it cannot be continued."""
    size = _size(part)
    try:
        version = Version(**json.loads(_version_file(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None, 0
    fits = version.url == public(url) and size > 0 and (version.size is None or size <= version.size)
    # Without a sign of the version, only the digest of the whole would tell two versions apart.
    can_tell = version.condition is not None or (digest_known and version.size is not None)
    return (version, size) if fits and can_tell else (None, 0)


def _is_passing(error: requests.RequestException) -> bool:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in _TRY_AGAIN
    wrong = (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, _Unprotected)
    permanent = (*wrong, requests.TooManyRedirects)
    return not isinstance(error, (*permanent, requests.exceptions.SSLError)) and not _is_without_host(error)


def _reason(error: requests.RequestException, timeout_s: float) -> str:
    # Not the error's own text: it shows the whole address, with what may be secret in it.
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return "it leads to an address that is neither http nor https"
    if isinstance(error, _Unprotected):
        return "it redirects from https to an address that is not, where anybody on the way could change the file"
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of the server is not valid"
    if isinstance(error, requests.TooManyRedirects):
        return "it redirects in circles"
    if isinstance(error, _Broken):
        return str(error)
    if _is_without_host(error):
        return "there is no such host, or no network"
    causes = list(_causes(error))
    if system := [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]:
        return f"no connection ({system[0]})"
    if any(isinstance(cause, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)) for cause in causes):
        return f"nothing came for {timeout_s:g} s"
    return "the connection broke"


def _is_without_host(error: requests.RequestException) -> bool:
    unknown = (urllib3.exceptions.NameResolutionError, socket.gaierror)
    return any(isinstance(cause, unknown) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, by ``__cause__``, ``__context__`` and the arguments of urllib3's errors."""
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
