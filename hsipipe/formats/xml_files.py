"""Parse XML files from outside: limited in size, without document types, entities or references to other files."""

import xml.parsers.expat
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder

from hsipipe.errors import FileFormatError

_MOST_BYTES = 16 << 20
_MOST_ELEMENTS = 400_000


def read_xml(path: Path) -> Element:
    """Parse an XML file; names of elements are without their namespace prefix.

    Raises:
        FileFormatError: It is too large, is not well-formed, or declares a document type.
    """
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise FileFormatError(f"{path.name} has {size} bytes, expected at most {_MOST_BYTES} of XML")
    builder, count = TreeBuilder(), 0

    def start(name: str, attrs: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > _MOST_ELEMENTS:
            raise FileFormatError(f"{path.name} has more than {_MOST_ELEMENTS} elements")
        builder.start(name.rsplit(":", 1)[-1], attrs)

    def refuse(*_: object) -> None:
        raise FileFormatError(f"{path.name} declares a document type; expected XML without entities")

    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: builder.end(name.rsplit(":", 1)[-1])
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except xml.parsers.expat.ExpatError as error:
        raise FileFormatError(f"{path.name} is not well-formed XML: {error}; remove it or write it again") from error
    return builder.close()


def number_in(element: Element, *names: str) -> float | None:
    """Return the number in the first child of one of these names, compared without capitals, or None."""
    wanted = [name.lower() for name in names]
    for child in element:
        if child.tag.lower() in wanted:
            try:
                return float((child.text or "").strip())
            except ValueError:
                return None
    return None
