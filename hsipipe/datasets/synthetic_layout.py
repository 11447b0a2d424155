"""Layout of a synthetic scene: fields at any angle, roads, hedges, houses, trees, sometimes a river.

The layout is geometry in pixel units, evaluated on a grid finer than the pixels. Edges thus have mixed pixels, as in a
real image, instead of a staircase.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hsipipe.datasets.synthetic_spectra import MATERIALS

Coordinates = NDArray[np.float32]

_INDEX = {name: number for number, name in enumerate(MATERIALS)}
# A field is a mixture of a main and a second cover: soil between plants, dry patches, weeds.
_FIELDS = (
    ("crop", "dark_soil"),
    ("crop", "bright_soil"),
    ("grass", "dry_stubble"),
    ("dry_stubble", "bright_soil"),
    ("bright_soil", "dry_stubble"),
    ("dark_soil", "crop"),
    ("forest", "shadow"),
    ("grass", "bright_soil"),
    ("concrete", "asphalt"),
)
_ROOFS = ("red_tiles", "red_tiles", "metal_roof", "concrete", "dark_soil")
_VILLAGE = 8  # index of built-up land in _FIELDS
_SMALLEST_FIELD = 160.0  # square pixels


@dataclass(frozen=True)
class Field:
    """A parcel: two covers, their mixture, and rows of plants."""

    main: int
    second: int
    share: float
    patchiness: float
    brightness: float
    rows: float
    period: float
    angle: float


@dataclass
class Cut:
    """A straight border between two parts of the land; with `half_width` > 0 it is a road or a hedge."""

    normal: tuple[float, float]
    offset: float
    half_width: float
    cover: int
    left: "Cut | int" = 0
    right: "Cut | int" = 0


@dataclass(frozen=True)
class Shape:
    """A rotated rectangle or ellipse of one cover, in pixels."""

    centre: tuple[float, float]
    half: tuple[float, float]
    angle: float
    cover: int
    brightness: float
    round: bool


@dataclass
class Layout:
    """All objects of one scene."""

    land: "Cut | int" = 0
    fields: list[Field] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    river: tuple[float, float, float, float, float] | None = None  # angle, offset, sway, wavelength, half width


def draw_layout(size: int, rng: Generator) -> Layout:
    """Plan a scene of `size` x `size` pixels."""
    layout = Layout()
    corners = np.array([(0.0, 0.0), (0.0, size), (size, size), (size, 0.0)])
    layout.land = _divide(corners, float(rng.uniform(0, np.pi)), 0, layout, rng)
    if rng.random() < 0.5:
        layout.river = (
            float(rng.uniform(0, np.pi)),
            float(rng.uniform(-0.35, 0.35) * size),
            float(rng.uniform(3, 9)),
            float(rng.uniform(40, 110)),
            float(rng.uniform(2.0, 5.0)),
        )
    return layout


def _divide(polygon: NDArray[np.float64], angle: float, depth: int, layout: Layout, rng: Generator) -> "Cut | int":
    area = _area(polygon)
    target = _SMALLEST_FIELD * float(rng.lognormal(1.1, 0.7))
    if area < max(target, _SMALLEST_FIELD) or depth > 40:
        return _plant(polygon, angle, layout, rng)
    turned = angle + float(rng.normal(0.0, 0.09))
    axis = _longest_axis(polygon, turned)
    normal = (float(np.cos(axis)), float(np.sin(axis)))
    along = polygon @ np.array(normal)
    offset = float(along.min() + (along.max() - along.min()) * rng.uniform(0.32, 0.68))
    half_width, cover = _border(area, rng)
    cut = Cut(normal, offset, half_width, cover)
    cut.left = _divide(_clip(polygon, normal, offset, -1.0), turned, depth + 1, layout, rng)
    cut.right = _divide(_clip(polygon, normal, offset, 1.0), turned, depth + 1, layout, rng)
    return cut


def _border(area: float, rng: Generator) -> tuple[float, int]:
    if area > 3500 and rng.random() < 0.8:
        road = "asphalt" if rng.random() < 0.6 else "bright_soil"
        return float(rng.uniform(0.8, 2.0)), _INDEX[road]
    kind = rng.random()
    if kind < 0.25:
        return float(rng.uniform(0.5, 1.1)), _INDEX["forest"]
    if kind < 0.4:
        return float(rng.uniform(0.4, 0.8)), _INDEX["bright_soil"]
    return 0.0, 0


def _plant(polygon: NDArray[np.float64], angle: float, layout: Layout, rng: Generator) -> int:
    kind = int(rng.integers(len(_FIELDS)))
    main, second = _FIELDS[kind]
    layout.fields.append(
        Field(
            main=_INDEX[main],
            second=_INDEX[second],
            share=float(rng.uniform(0.05, 0.35)),
            patchiness=float(rng.uniform(0.02, 0.14)),
            brightness=float(rng.uniform(0.8, 1.2)),
            rows=float(rng.uniform(0.1, 0.3)) if rng.random() < 0.35 and kind not in (6, _VILLAGE) else 0.0,
            period=float(rng.uniform(5.0, 12.0)),
            angle=angle + (np.pi / 2 if rng.random() < 0.5 else 0.0),
        )
    )
    if kind == _VILLAGE:
        _build(polygon, angle, layout, rng)
    elif rng.random() < 0.25:
        _scatter_trees(polygon, layout, rng)
    return len(layout.fields) - 1


def _build(polygon: NDArray[np.float64], angle: float, layout: Layout, rng: Generator) -> None:
    for _ in range(1 + int(_area(polygon) / 110)):
        centre = _inside(polygon, rng)
        half = (float(rng.uniform(2.0, 5.5)), float(rng.uniform(1.8, 3.5)))
        roof = _INDEX[_ROOFS[int(rng.integers(len(_ROOFS)))]]
        shade = (centre[0] + 1.1, centre[1] + 1.1)
        layout.shapes.append(Shape(shade, half, angle, _INDEX["shadow"], 1.0, round=False))
        layout.shapes.append(Shape(centre, half, angle, roof, float(rng.uniform(0.8, 1.2)), round=False))


def _scatter_trees(polygon: NDArray[np.float64], layout: Layout, rng: Generator) -> None:
    for _ in range(int(rng.integers(1, 2 + int(_area(polygon) / 150)))):
        centre = _inside(polygon, rng)
        radius = float(rng.uniform(1.2, 2.8))
        shade = (centre[0] + 0.8, centre[1] + 0.8)
        layout.shapes.append(Shape(shade, (radius, radius), 0.0, _INDEX["shadow"], 1.0, round=True))
        layout.shapes.append(
            Shape(centre, (radius, radius), 0.0, _INDEX["forest"], float(rng.uniform(0.8, 1.2)), round=True)
        )


def _inside(polygon: NDArray[np.float64], rng: Generator) -> tuple[float, float]:
    weights = rng.dirichlet(np.full(len(polygon), 0.8))
    y, x = weights @ polygon
    return float(y), float(x)


def _area(polygon: NDArray[np.float64]) -> float:
    y, x = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2)


def _longest_axis(polygon: NDArray[np.float64], angle: float) -> float:
    candidates = (angle, angle + np.pi / 2)
    extents = [np.ptp(polygon @ np.array((np.cos(a), np.sin(a)))) for a in candidates]
    return candidates[int(np.argmax(extents))]


def _clip(polygon: NDArray[np.float64], normal: tuple[float, float], offset: float, side: float) -> NDArray[np.float64]:
    """Clip a convex polygon to one side of a line (Sutherland and Hodgman, one edge)."""
    distance = side * (polygon @ np.array(normal) - offset)
    kept = []
    for here, there, a, b in zip(polygon, np.roll(polygon, -1, axis=0), distance, np.roll(distance, -1), strict=True):
        if a >= 0:
            kept.append(here)
        if a * b < 0:
            kept.append(here + (there - here) * (a / (a - b)))
    return np.array(kept)
