"""Data of one scene in the viewer: cubes as components, and maps beside the truth."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsipipe.viewer.colours import bands_of, limits, to_image, ways
from hsipipe.viewer.components import Components
from hsipipe.viewer.packing import pack

Kind = Literal["sam", "error", "width"]
KINDS: Mapping[Kind, tuple[str, str]] = {
    "sam": ("spectral angle to the truth", "°"),
    "error": ("mean |error| over bands", ""),
    "width": ("width of the 90 % interval", ""),
}
"""Title and unit of each kind of map."""
TINTS = ("#7a7a7a", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#5b4ba0", "#8c564b")
"""Colours of spectra: the palette of Okabe and Ito, and two more (jfly.uni-koeln.de/color)."""
MAP_STEPS = 1000
"""Steps of a map between zero and the end of its colour scale."""
_TOP = 99.5


@dataclass(frozen=True, eq=False)
class Layer:
    """A cube in the viewer.

    Attributes:
        name: Its name, of any characters.
        components: Its values.
        wavelength_nm: Band centres (C,); None: unknown.
        bad: Bands without use, counted from 0; they are not plotted.
        tint: Colour of its spectra, ``#rrggbb``; None: black, of the truth.
    """

    name: str
    components: Components
    wavelength_nm: NDArray[np.float64] | None = None
    bad: Sequence[int] = ()
    tint: str | None = None


@dataclass(frozen=True, eq=False)
class Map:
    """A value of each pixel of a cube.

    Attributes:
        kind: A key of :data:`KINDS`.
        of: Name of the cube.
        values: (h, w); NaN: none.
    """

    kind: Kind
    of: str
    values: NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Scene:
    """What the viewer shows of one scene.

    Attributes:
        name: Its name.
        layers: The cubes. All cover the same ground; their sizes may differ by whole factors.
        maps: Maps on the grid of the truth.
        truth: Name of the truth; None: there is none.
        baseline: Name of the cube that errors are compared with; None: with no other.
        left: Name of the cube on the left at the start.
        right: Name of the cube on the right at the start.
        every: Only each n-th row and column of the scene is kept.
        origin: Row and column of the first pixel, where only a part of the scene is kept.
        map_steps: Steps of a map between zero and the end of its colour scale.
        notes: Remarks below the pictures, one sentence each.
    """

    name: str
    layers: Sequence[Layer]
    maps: Sequence[Map] = ()
    truth: str | None = None
    baseline: str | None = None
    left: str = ""
    right: str = ""
    every: int = 1
    origin: tuple[int, int] = (0, 0)
    map_steps: int = MAP_STEPS
    notes: Sequence[str] = field(default_factory=tuple)

    def to_json(self) -> str:
        """Return the scene as JSON, safe inside of a script element."""
        return as_data(self._tree())

    def stills(self) -> list[tuple[str, str, NDArray[np.uint8]]]:
        """Return name, colours and image (h, w, 3) of each cube, as the viewer shows them first."""
        shown = self._shown()
        way = ways(*_bands(shown))[0]
        stretch = _way(way, self.layers, shown)["stretch"]
        return [
            (layer.name, way.title, to_image(layer.components.cube()[bands_of(way, *_bands(layer))], stretch))
            for layer in self.layers
        ]

    def _shown(self) -> Layer:
        """The cube that gives the stretch: the truth, or the first."""
        return next((layer for layer in self.layers if layer.name == self.truth), self.layers[0])

    def _tree(self) -> dict[str, Any]:
        names = [layer.name for layer in self.layers]
        shown = self._shown()
        height, width = (max(layer.components.codes.shape[axis] for layer in self.layers) for axis in (1, 2))
        return {
            "name": self.name,
            "height": height,
            "width": width,
            "every": self.every,
            "origin": list(self.origin),
            "truth": _place(names, self.truth),
            "baseline": _place(names, self.baseline),
            "left": _place(names, self.left) or 0,
            "right": _place(names, self.right) if self.right in names else len(names) - 1,
            "notes": list(self.notes),
            "layers": [_layer(layer) for layer in self.layers],
            "maps": self._maps(names),
            "colours": [_way(way, self.layers, shown) for way in ways(*_bands(shown))],
        }

    def _maps(self, names: Sequence[str]) -> list[dict[str, Any]]:
        found = []
        for kind, (title, unit) in KINDS.items():
            some = [entry for entry in self.maps if entry.kind == kind]
            if not some:
                continue
            known = np.concatenate([entry.values[np.isfinite(entry.values)] for entry in some])
            # One scale for all cubes, so that the display favours none.
            top = (float(np.percentile(known, _TOP)) if known.size else 0.0) or 1.0
            for entry in some:
                height, width = entry.values.shape
                finite = np.isfinite(entry.values)
                codes = np.rint(np.where(finite, entry.values, -1).astype(np.float64) / top * self.map_steps)
                codes[~finite] = -1
                found.append(
                    {
                        "kind": kind,
                        "title": title,
                        "unit": unit,
                        "of": names.index(entry.of),
                        "top": top,
                        "step": top / self.map_steps,
                        "height": height,
                        "width": width,
                        "planes": pack(np.minimum(codes, 1 << 28)[None].astype(np.int32)),
                    }
                )
        return found


def as_data(tree: Any) -> str:
    """Write a tree as JSON that is inert in HTML: no text of it can end the script element that holds it."""
    text = json.dumps(tree, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _place(names: Sequence[str], name: str | None) -> int | None:
    return names.index(name) if name in names else None


def _bands(layer: Layer) -> tuple[int, NDArray[np.float64] | None, Sequence[int]]:
    return len(layer.components.mean), layer.wavelength_nm, layer.bad


def _layer(layer: Layer) -> dict[str, Any]:
    nm = None if layer.wavelength_nm is None else [_number(value) for value in layer.wavelength_nm]
    own = {"name": layer.name, "tint": layer.tint, "wavelength": nm, "bad": [int(band) for band in layer.bad]}
    return own | layer.components.as_tree()


def _number(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None


def _way(way: Any, layers: Sequence[Layer], shown: Layer) -> dict[str, Any]:
    """Bands of each cube, and one stretch for all of them: that of the truth, or of the first cube."""
    bands = [bands_of(way, *_bands(layer)) for layer in layers]
    cube = shown.components.cube()[bands[list(layers).index(shown)]]
    return {"title": way.title, "bands": bands, "stretch": limits(way, cube)}
