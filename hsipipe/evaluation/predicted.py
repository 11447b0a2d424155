"""Predicted cubes of the test scenes for the viewers of the report, kept small: components of a part of the scene."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts import Pair
from hsipipe.artifacts.views import Cube
from hsipipe.errors import FileFormatError, MissingInputError
from hsipipe.evaluation.evidence import choose_detail
from hsipipe.json_text import parse_json
from hsipipe.viewer.components import Components, compress, fine_step
from hsipipe.viewer.maps import angle_map
from hsipipe.viewer.packing import pack, unpack

SUFFIX = ".cube.json"
"""End of the name of a file of a scene."""
MOST_PIXELS = 1 << 16
"""Most pixels that are kept of a scene: 256 x 256."""
MOST_BYTES = 1_500_000
"""Largest file, but for the smallest part in the coarsest steps."""
FINENESS = (512, 256, 128)
"""Steps in the range of the truth; the next one is tried if the file is too large."""
_LEAST_PIXELS = 1 << 12
_ANGLE_STEP_DEG = 0.01


@dataclass(frozen=True)
class Window:
    """A part of a scene.

    Attributes:
        y: First row.
        x: First column.
        height: Number of rows.
        width: Number of columns.
    """

    y: int
    x: int
    height: int
    width: int

    def cut(self, cube: Any, ratio: int = 1) -> NDArray[Any]:
        """Return the part of an array (..., H, W); of one whose pixels are `ratio` times as large, the same ground."""
        rows = slice(self.y // ratio, (self.y + self.height) // ratio)
        return np.asarray(cube[..., rows, self.x // ratio : (self.x + self.width) // ratio])

    def overlap(self, other: "Window") -> "Window":
        """Return the part that lies in both."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - y
        return Window(y, x, height, min(self.x + self.width, other.x + other.width) - x)

    def within(self, outer: "Window") -> "Window":
        """Return the same part, counted from the corner of a window that holds it."""
        return replace(self, y=self.y - outer.y, x=self.x - outer.x)


def choose_window(hr: Cube, pixels: int, scale: int) -> Window:
    """Choose the part that is kept: the whole scene, or `pixels` pixels in the middle of its densest texture.

    Args:
        hr: The truth (C, H, W).
        pixels: Most pixels.
        scale: Corners lie on corners of LR pixels, s.
    """
    height, width = hr.shape[1:]
    if height * width <= pixels:
        return Window(0, 0, height, width)
    # A square, or longer where the scene is not as high or wide.
    tall = min(height, math.isqrt(pixels))
    wide = min(width, pixels // tall)
    tall = min(height, pixels // wide)
    top, left, high, across = choose_detail(hr)
    tall, wide = (max(scale, size // scale * scale) for size in (tall, wide))
    y, x = (
        min(max(0, (start + size // 2 - own // 2) // scale * scale), (full - own) // scale * scale)
        for start, size, own, full in ((top, high, tall, height), (left, across, wide, width))
    )
    return Window(y, x, tall, wide)


@dataclass(frozen=True, eq=False)
class PredictedCube:
    """Components and images of the prediction of a scene, for the report.

    Attributes:
        window: The part of the scene.
        components: Its values.
        angle_deg: Spectral angle to the truth (h, w), in degrees; NaN where it is not defined.
    """

    window: Window
    components: Components
    angle_deg: NDArray[np.float32]

    @classmethod
    def of(cls, pair: Pair, prediction: Cube, scale: int) -> "PredictedCube":
        """Keep a part of a prediction (C, H, W), with the holes of the pair; it takes at most :data:`MOST_BYTES`."""
        pixels, hr, image = MOST_PIXELS, pair.opened(pair.hr), pair.opened(prediction)
        while True:
            window = choose_window(hr, pixels, scale)
            cube, truth = window.cut(image).astype(np.float32), window.cut(hr)
            angle = angle_map(cube, truth)
            for parts in FINENESS:
                # The step is that of the truth, so that all rows of a scene have the same error.
                made = cls(window, compress(cube, fine_step(truth, parts)), angle)
                if len(made._text()) <= MOST_BYTES:
                    return made
            if pixels <= _LEAST_PIXELS:
                return made
            pixels //= 2

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(self._text(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "PredictedCube":
        """Load a file written by :meth:`save`.

        Raises:
            MissingInputError: There is no such file.
            FileFormatError: The file is damaged or has another format.
        """
        try:
            tree = parse_json(path.read_text(encoding="utf-8"))
            components = Components.from_tree(tree["cube"])
            codes = unpack(tree["angle"], (1, *components.codes.shape[1:]))[0]
            angle = np.where(codes < 0, np.nan, codes * _ANGLE_STEP_DEG).astype(np.float32)
            return cls(Window(*(int(value) for value in tree["window"])), components, angle)
        except FileNotFoundError as error:
            raise MissingInputError(f"No {path.name} in {path.parent}; run the stage evaluate.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise FileFormatError(f"{path} holds no predicted cube ({error}); run the stage evaluate.") from error

    def _text(self) -> str:
        codes = np.rint(np.nan_to_num(self.angle_deg, nan=-_ANGLE_STEP_DEG) / _ANGLE_STEP_DEG).astype(np.int32)
        window = [self.window.y, self.window.x, self.window.height, self.window.width]
        tree = {"window": window, "cube": self.components.as_tree(), "angle": pack(codes[None])}
        return json.dumps(tree, separators=(",", ":")) + "\n"
