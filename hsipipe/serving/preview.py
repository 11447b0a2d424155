"""Picture input and result for a browser, and pack both with the file into one multipart answer."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from hsipipe.errors import DataError
from hsipipe.serving.uploads import FORM
from hsipipe.viewer.quicklook import pair_pictures


@dataclass(frozen=True)
class Preview:
    """Pictures of a request.

    Attributes:
        input_shape: Shape of the LR cube (C, h, w).
        shape: Shape of the result (C, H, W).
        colours: Colours and bands of the pictures, or the reason why there are none.
        pictures: PNG of the input and of the result; empty without a picture.
    """

    input_shape: tuple[int, ...]
    shape: tuple[int, ...]
    colours: str
    pictures: Sequence[bytes]


def preview_of(lr: xr.DataArray, sr: xr.DataArray) -> Preview:
    """Picture an LR cube (band, y, x) and its result."""
    try:
        colours, pictures = pair_pictures(lr, sr)
    except DataError as error:
        colours, pictures = str(error), []
    return Preview(lr.shape, sr.shape, colours, pictures)


@dataclass(frozen=True)
class Envelope:
    """The bytes around the result file in a multipart/form-data answer.

    Attributes:
        media_type: Content-Type with the border.
        head: All parts before the bytes of the file: ``facts`` (JSON), ``input`` and ``result`` (PNG), begin of ``sr``.
        tail: The end.
    """

    media_type: str
    head: bytes
    tail: bytes

    @classmethod
    def around(cls, preview: Preview, *, suffix: str, media: str, notes: Sequence[str]) -> "Envelope":
        """Make the envelope of a result file of this format."""
        border = f"hsipipe-{secrets.token_hex(16)}"  # no client can make a result that contains it
        shapes = {"input_shape": preview.input_shape, "shape": preview.shape}
        facts = json.dumps({**shapes, "colours": preview.colours, "notes": notes})
        head = _part(border, "facts", "application/json") + facts.encode()
        for name, picture in zip(("input", "result"), preview.pictures, strict=False):
            head += _part(border, name, "image/png", f"{name}.png") + picture
        head += _part(border, "sr", media, f"sr{suffix}")
        return cls(f"{FORM}; boundary={border}", head, f"\r\n--{border}--\r\n".encode())


def _part(border: str, name: str, media: str, file: str | None = None) -> bytes:
    file_name = f'; filename="{file}"' if file else ""
    return (
        f'\r\n--{border}\r\nContent-Disposition: form-data; name="{name}"{file_name}\r\nContent-Type: {media}\r\n\r\n'
    ).encode()
