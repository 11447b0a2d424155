"""Addresses of files that are read over the network, and the type of a place that is a path or an address.

A `Url` is made by a caller that was given one in so many words: an argument of a command, or a text that is handed to
:func:`hsipipe.open_cube`. A `Path` never becomes one. So names of files that come from elsewhere, as those of the inbox
or of uploads, cannot make this machine send requests.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from hsipipe.credentials import public
from hsipipe.errors import ParamsError

_SCHEMES = ("http", "https", "s3")
_HAS_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", flags=re.IGNORECASE)


@dataclass(frozen=True)
class Url:
    """Address of a file, or of a folder such as a Zarr store.

    As text it lacks user, password and query, which may be credentials.

    Attributes:
        text: The whole address.
    """

    text: str

    def __str__(self) -> str:
        return public(self.text)

    def __truediv__(self, name: str) -> "Url":
        """Return the address of a file below; the query, which may be a signature, stays."""
        parts = urlsplit(self.text)
        return Url(urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}" if name else parts.path)))

    def beside(self, reference: str) -> str:
        """Return the address that a reference in this file means, without the query of this one."""
        # urljoin resolves relative references of the schemes that it knows, and s3 is none of them.
        parts = urlsplit(self.text)
        there = urlsplit(urljoin(urlunsplit(("https", parts.netloc, parts.path, "", "")), reference))
        is_relative = not urlsplit(reference).scheme
        return urlunsplit(there._replace(scheme=parts.scheme)) if is_relative else reference

    @property
    def scheme(self) -> str:
        """``http``, ``https`` or ``s3``."""
        return urlsplit(self.text).scheme.lower()

    @cached_property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(unquote(urlsplit(self.text).path))

    @property
    def name(self) -> str:
        """Last part of its path."""
        return self._path.name

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """Suffix of its name, with the dot."""
        return self._path.suffix


Place = Path | Url
"""Where a cube is read from."""


def place_of(text: str) -> Place:
    """Return the address that a user named, or the path.

    Raises:
        ParamsError: An address of another scheme than http, https and s3, or without a host.
    """
    if not _HAS_SCHEME.match(text):
        return Path(text)
    parts = urlsplit(text)
    if parts.scheme.lower() not in _SCHEMES or not parts.netloc:
        raise ParamsError(
            f"Got the address {public(text)}, expected one that begins with {', '.join(f'{s}://' for s in _SCHEMES)}, "
            "or a path."
        )
    return Url(text)
