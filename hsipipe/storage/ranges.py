"""Read ranges of bytes of remote files by fsspec, never more than was asked for.

An answer is bounded whatever the server sends: a server that ignores the range, compresses, or sends without end is
refused, not stored.
"""

import asyncio
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import aiohttp
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem

from hsipipe.errors import (
    FileFormatError,
    HsipipeError,
    MissingExtraError,
    MissingInputError,
    UnreachableError,
    one_line,
)
from hsipipe.storage.urls import Url

BLOCK_BYTES = 64 << 10
_BLOCKS = 256
"""Blocks that are kept in memory, of all files together; GDAL reads the directory of a TIFF again for each window."""
_ATTEMPTS, _PAUSE_S = 3, 0.5
_NO_PARTS = "the server does not send parts of files; download the file and name that"
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)


@dataclass(frozen=True)
class FileState:
    """State of a remote file.

    Attributes:
        size: Its size in bytes.
        tag: What the server says to tell its versions apart; empty: nothing.
    """

    size: int
    tag: str


@dataclass(frozen=True)
class _Answer:
    data: bytes
    state: FileState


class _BoundedHttp(HTTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """HTTP whose answers are bounded by the range that was asked for."""

    async def range_of(self, url: str, start: int, stop: int) -> _Answer:
        """Read bytes from `start` to before `stop`, fewer at the end of the file."""
        headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        session = await self.set_session()
        async with session.get(self.encode_url(url), headers=headers) as answer:
            if answer.status == 416:
                return _Answer(b"", _state(answer.headers, _total_of(answer.headers)))
            if answer.status in (401, 403):
                raise PermissionError(f"the server answers {answer.status}")
            self._raise_not_found_for_status(answer, url)
            wanted, total = _check_range(answer.status, answer.headers, start, stop)
            data = await _read(answer.content, wanted)
            if total is None and len(data) == stop:
                raise FileFormatError(_NO_PARTS)
            return _Answer(data, _state(answer.headers, len(data) if total is None else total))


def state_of(url: Url) -> FileState:
    """Return size and version of a remote file.

    Raises:
        MissingInputError: It does not exist, cannot be reached or must not be read.
        FileFormatError: The server does not send ranges.
        MissingExtraError: S3 without s3fs.
    """
    return _first_block(url).state


def read_range(url: Url, start: int, stop: int, *, tag: str = "") -> bytes:
    """Read a range of bytes, which ends at the end of the file at the latest.

    Args:
        url: File.
        start: First byte.
        stop: One past the last byte.
        tag: Version that the file must have; empty: any.

    Raises:
        FileFormatError: The file has changed, or see :func:`state_of`.
        MissingInputError: See :func:`state_of`.
    """
    if stop <= start:
        return b""
    answer = _ask(url, start, stop)
    if tag and answer.state.tag and answer.state.tag != tag:
        raise FileFormatError(f"{url} changed while it was read; start again")
    return answer.data


def read_suffix(url: Url, length: int) -> bytes:
    """Read the last bytes of a file; errors as :func:`read_range`."""
    size = state_of(url).size
    return read_range(url, max(0, size - length), size)


def read_whole(url: Url, *, most: int) -> bytes | None:
    """Read a small file; None: it does not exist.

    Raises:
        FileFormatError: It has more than `most` bytes.
    """
    try:
        data = read_range(url, 0, most + 1)
    except UnreachableError:
        raise
    except MissingInputError:
        return None
    if len(data) > most:
        raise FileFormatError(f"{url} has more than {most} bytes, which is more than it may hold")
    return data


class RangeFile(io.RawIOBase):
    """A remote file for parsers: small reads are served from blocks in memory, large ones are exact ranges.

    Args:
        url: File.
    """

    def __init__(self, url: Url) -> None:
        super().__init__()
        self._url, self._place = url, 0
        self._state = state_of(url)
        self.name = str(url)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the place of the next byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._state.size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer; return their number."""
        view = memoryview(buffer).cast("B")
        stop = min(self._place + len(view), self._state.size)
        data = self._bytes(self._place, stop) if stop > self._place else b""
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def _bytes(self, start: int, stop: int) -> bytes:
        if stop - start > BLOCK_BYTES:
            data = read_range(self._url, start, stop, tag=self._state.tag)
        else:
            first = start // BLOCK_BYTES
            blocks = [_block(self._url, n, self._state.tag) for n in range(first, (stop - 1) // BLOCK_BYTES + 1)]
            data = b"".join(blocks)[start - first * BLOCK_BYTES :][: stop - start]
        if len(data) != stop - start:
            raise FileFormatError(f"{self._url} sent {len(data)} bytes of {stop - start}; it is shorter than it says")
        return data


@lru_cache(maxsize=_BLOCKS)
def _first_block(url: Url) -> _Answer:
    return _ask(url, 0, BLOCK_BYTES)


@lru_cache(maxsize=_BLOCKS)
def _block(url: Url, number: int, tag: str) -> bytes:
    if number == 0:
        return _first_block(url).data
    return read_range(url, number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES, tag=tag)


def forget() -> None:
    """Forget what is known of remote files, so that each opening sees the file of that moment."""
    _first_block.cache_clear()
    _block.cache_clear()


def _ask(url: Url, start: int, stop: int) -> _Answer:
    ask = _ask_s3 if url.scheme == "s3" else _ask_http
    try:
        return ask(url, start, stop)
    except HsipipeError:
        raise
    except FileNotFoundError as error:
        raise MissingInputError(f"No file at {url}.") from error
    except PermissionError as error:
        raise UnreachableError(f"{url} may not be read ({one_line(error)}); check the credentials.") from error
    except Exception as error:  # aiohttp's and botocore's errors have no common base
        raise UnreachableError(f"{url} cannot be reached ({one_line(error) or type(error).__name__}).") from error


def _ask_http(url: Url, start: int, stop: int) -> _Answer:
    system = _http()
    answer: _Answer = sync(system.loop, _with_patience, system, url.text, start, stop)
    return answer


async def _with_patience(system: _BoundedHttp, url: str, start: int, stop: int) -> _Answer:
    """Ask again where a connection breaks or the server is overloaded."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await system.range_of(url, start, stop)
        except (TimeoutError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            if attempt == _ATTEMPTS:
                raise
        except aiohttp.ClientResponseError as error:
            if attempt == _ATTEMPTS or error.status not in (429, 500, 502, 503, 504):
                raise
        await asyncio.sleep(_PAUSE_S * attempt)
    raise AssertionError("unreachable")


@lru_cache(maxsize=1)
def _http() -> _BoundedHttp:
    # trust_env: proxies, and passwords in ~/.netrc. Without auto_decompress a compressed answer is not unpacked.
    return _BoundedHttp(client_kwargs={"trust_env": True, "auto_decompress": False, "timeout": _TIMES})


def _ask_s3(url: Url, start: int, stop: int) -> _Answer:
    system = _s3()
    answer: _Answer = sync(system.loop, _s3_range, system, url.text, start, stop)
    return answer


async def _s3_range(system: Any, url: str, start: int, stop: int) -> _Answer:
    bucket, key, _ = system.split_path(url)
    try:
        found = await system._call_s3("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
    except OSError as error:
        if "not satisfiable" in str(error):  # it begins behind the end of the file
            return _Answer(b"", FileState(0, ""))
        raise
    headers = {"Content-Range": found.get("ContentRange", ""), "Content-Length": str(found["ContentLength"])}
    wanted, total = _check_range(206 if headers["Content-Range"] else 200, headers, start, stop)
    async with found["Body"] as body:
        data = await _read(body, wanted)
    return _Answer(data, FileState(len(data) if total is None else total, found.get("ETag", "")))


@lru_cache(maxsize=1)
def _s3() -> Any:
    """Return S3 by the credentials of the environment; without any, as a public bucket allows."""
    try:
        import botocore.session
        import s3fs
    except ImportError as error:
        raise MissingExtraError('s3:// needs s3fs, not installed here; run: pip install "hsipipe[cloud]"') from error
    anonymous = botocore.session.get_session().get_credentials() is None
    return s3fs.S3FileSystem(anon=anonymous, skip_instance_cache=True)


def close_s3() -> None:
    """Forget the session with S3, so that the next read takes the credentials and the endpoint of that moment."""
    forget()
    _s3.cache_clear()


def _check_range(status: int, headers: Mapping[str, str], start: int, stop: int) -> tuple[int, int | None]:
    """Return how many bytes an answer may have, and the size of the file; None: the server does not say it.

    Raises:
        FileFormatError: It is not the range that was asked for.
    """
    if headers.get("Content-Encoding", "identity") != "identity":
        raise FileFormatError("the server compresses its answers; download the file and name that")
    if status == 206:
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if found is None or int(found[1]) != start or int(found[2]) >= stop:
            raise FileFormatError("the server sent another range than it was asked for; download the file")
        return int(found[2]) - start + 1, int(found[3])
    length = int(headers["Content-Length"]) if "Content-Length" in headers else None
    if start or (length or 0) > stop:
        raise FileFormatError(_NO_PARTS)
    return stop if length is None else length, length


async def _read(stream: Any, wanted: int) -> bytes:
    """Read bytes of a stream that gives what has arrived, until there are as many as wanted, or no more."""
    data = bytearray()
    while len(data) < wanted and (piece := await stream.read(wanted - len(data))):
        data += piece
    return bytes(data)


def _total_of(headers: Mapping[str, str]) -> int:
    total = headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else 0


def _state(headers: Mapping[str, str], total: int) -> FileState:
    return FileState(total, headers.get("ETag") or headers.get("Last-Modified") or "")
