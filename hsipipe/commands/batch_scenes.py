"""List the scenes of a batch: the cubes of a folder, or an asset of each item of a STAC list."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hsipipe.errors import FileFormatError, MissingInputError, one_line
from hsipipe.formats import companions, is_cube
from hsipipe.formats.catalogue import FORMATS
from hsipipe.json_text import parse_json
from hsipipe.storage.urls import Place, Url, place_of

_MOST_LIST_BYTES = 64 << 20
"""Largest list that is fetched."""


@dataclass(frozen=True)
class BatchScene:
    """A scene of a batch.

    Attributes:
        name: Name of its product, without suffix.
        path: Its cube, or the address of it; None if it has none.
        trouble: Reason why it cannot be predicted; else empty.
        item: Its STAC item and asset; empty for a file of a folder.
    """

    name: str
    path: Place | None = None
    trouble: str = ""
    item: str = ""


def batch_scenes(place: Place, *, asset: str | None = None) -> list[BatchScene]:
    """List the scenes of a folder, or of a JSON file with STAC items, sorted by name.

    A scene that cannot be predicted is in the list with the reason. A list on a server names assets on servers alone:
    it must not choose files of this machine.

    Args:
        place: Folder with the cubes, or a file or an address with an item, an item collection or a list of items.
        asset: Key of the asset of each item; None: the only one, or the only one with the role ``data``.

    Raises:
        MissingInputError: There is nothing at `place`, or its server cannot be reached.
        FileFormatError: The file has no STAC items.
    """
    if isinstance(place, Url):
        scenes = [_of_item(item, place, asset) for item in _items(place, _remote_list(place))]
    elif place.is_dir():
        scenes = _in_folder(place)
    elif place.is_file():
        scenes = [_of_item(item, place.absolute(), asset) for item in _items(place, place.read_bytes())]
    else:
        raise MissingInputError(f"No folder of scenes and no list of STAC items at {place}.")
    return _without_twins(sorted(scenes, key=lambda scene: scene.name))


def _in_folder(folder: Path) -> list[BatchScene]:
    """List the cubes of a folder, and the files with a suffix of cubes that cannot be read; skip other files."""
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    cubes = [path for path in entries if is_cube(path)]
    parts = {file.name for path in cubes if path.is_file() for file in companions(path)} | {path.name for path in cubes}
    known = {suffix for form in FORMATS.values() for suffix in form.suffixes}
    broken = [path for path in entries if path.name not in parts and path.suffix.lower() in known]
    return [
        *(BatchScene(path.stem, path) for path in cubes),
        *(BatchScene(path.stem, path, f"{path} cannot be read as a cube, or is not complete") for path in broken),
    ]


def _remote_list(url: Url) -> bytes:
    from hsipipe.storage.ranges import forget, read_whole  # slow to import, and seldom needed

    forget()
    text = read_whole(url, most=_MOST_LIST_BYTES)
    if text is None:
        raise MissingInputError(f"No list of STAC items at {url}.")
    return text


def _items(path: Place, text: bytes) -> list[Any]:
    try:
        tree = parse_json(text)
    except ValueError as error:
        raise FileFormatError(
            f"{path} is not JSON ({one_line(error)}); give a folder, or a file with STAC items."
        ) from error
    items = tree.get("features", [tree]) if isinstance(tree, dict) else tree
    if not isinstance(items, list) or not all(isinstance(item, dict) and "assets" in item for item in items):
        raise FileFormatError(
            f"{path} holds no STAC items; expected an item, an item collection or a list of items with assets."
        )
    return items


def _of_item(item: dict[str, Any], listed: Place, asset: str | None) -> BatchScene:
    name = str(item.get("id", ""))
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        return BatchScene(name or "(no id)", trouble=f"its id {name!r} cannot be the name of a file")
    try:
        key, href = _chosen(item["assets"], asset)
        path = _asset_at(href, listed)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return BatchScene(name, trouble=one_line(error))
    there = isinstance(path, Url) or path.exists()  # an address is asked when it is predicted
    trouble = "" if there else f"its asset {key} is not at {path}"
    return BatchScene(name, path, trouble, f"{name}#{key}")


def _chosen(assets: dict[str, dict[str, Any]], wanted: str | None) -> tuple[str, str]:
    """Return key and address of the asset of an item that is the cube."""
    if wanted is not None and wanted not in assets:
        raise ValueError(f"it has no asset {wanted!r}, only {', '.join(assets) or 'none'}")
    data = [key for key, asset in assets.items() if "data" in asset.get("roles", ())]
    keys = [wanted] if wanted is not None else data if data else list(assets)
    if len(keys) != 1:
        raise ValueError(f"its cube may be any of its assets {', '.join(keys) or '(none)'}; choose one with --asset")
    return keys[0], str(assets[keys[0]]["href"])


def _asset_at(href: str, listed: Place) -> Place:
    """Return where an asset is, by its address in a list, which may be relative to the list.

    Raises:
        ValueError: A scheme that is not read, or a list on a server names a file of this machine.
    """
    if isinstance(listed, Url):
        place = place_of(listed.beside(href))
        if not isinstance(place, Url):
            raise ValueError(f"its asset is at {href}, which is no address of a server")
        return place
    parts = urlsplit(href)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    place = place_of(href)
    return place if isinstance(place, Url) else listed.parent / place


def _without_twins(scenes: Sequence[BatchScene]) -> list[BatchScene]:
    """Refuse scenes whose products would have the same name."""
    names = [scene.name for scene in scenes]
    return [
        BatchScene(scene.name, scene.path, f"{names.count(scene.name)} scenes have this name; rename one", scene.item)
        if names.count(scene.name) > 1
        else scene
        for scene in scenes
    ]
