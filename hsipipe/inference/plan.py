"""Cut a scene into tiles to predict, and its result into shards to write: index arithmetic only, no data.

All positions are LR pixels. A tile is predicted at once. A shard is the unit that is written, one file of a Zarr store.
The values of a pixel depend on the tiles that cover it and their order alone, so they are the same for any shards, any
order of the shards, and any number of processes.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 8
"""Edges of shards are multiples of this, so that a block of the guard lies in one shard."""
_SHARD_BYTES = 64 << 20
_LONGEST_EDGE = 512
Span = tuple[int, int]


class Box(NamedTuple):
    """Rows and columns of an image: first, and one past the last."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return (self.y1 - self.y0) * (self.x1 - self.x0)

    @property
    def blocks(self) -> tuple[int, int]:
        """Number of blocks of the guard along y and x, for a box that begins with a whole block."""
        return -(-(self.y1 - self.y0) // BLOCK), -(-(self.x1 - self.x0) // BLOCK)

    def slices(self, *, scale: int = 1, origin: tuple[int, int] = (0, 0)) -> tuple[Any, slice, slice]:
        """Return the index of the box in an image (C, y, x) that starts at `origin`, on a grid `scale` times finer."""
        y, x = origin
        return (
            slice(None),
            slice((self.y0 - y) * scale, (self.y1 - y) * scale),
            slice((self.x0 - x) * scale, (self.x1 - x) * scale),
        )

    def grown(self, margin: int, limits: "Box") -> "Box":
        """Return the box with `margin` more pixels on each side, as far as they lie within the limits."""
        return Box(
            max(self.y0 - margin, limits.y0),
            min(self.y1 + margin, limits.y1),
            max(self.x0 - margin, limits.x0),
            min(self.x1 + margin, limits.x1),
        )

    def overlap(self, other: "Box") -> "Box | None":
        """Return the pixels that both have; None: no pixel."""
        both = Box(max(self.y0, other.y0), min(self.y1, other.y1), max(self.x0, other.x0), min(self.x1, other.x1))
        return both if both.y0 < both.y1 and both.x0 < both.x1 else None


class Step(NamedTuple):
    """A row of tiles.

    Attributes:
        window: The pixels to read.
        tiles: The tiles to predict, in order.
        shards: The shards that they belong to.
        done: Shards that are complete after these tiles.
    """

    window: Box
    tiles: tuple[Box, ...]
    shards: tuple[Box, ...]
    done: tuple[Box, ...]


@dataclass(frozen=True)
class Plan:
    """Tiles and shards of a scene.

    Attributes:
        height: Rows of the LR-HSI.
        width: Its columns.
        tile: Edge of a tile.
        overlap: Context on each side of the core of a tile.
        shard: Rows and columns of a shard, except at the last rows and columns; None: the scene is one shard.
        margin: Pixels around a shard that its values depend on in addition to its own.
    """

    height: int
    width: int
    tile: int
    overlap: int
    shard: tuple[int, int] | None = None
    margin: int = 0

    @property
    def scene(self) -> Box:
        """The whole scene."""
        return Box(0, self.height, 0, self.width)

    @property
    def shards(self) -> list[Box]:
        """All shards, row by row."""
        rows, columns = self.shard or (self.height, self.width)
        return [
            Box(y, min(y + rows, self.height), x, min(x + columns, self.width))
            for y, x in product(range(0, self.height, rows), range(0, self.width, columns))
        ]

    @property
    def shard_columns(self) -> int:
        """Number of shards side by side."""
        return 1 if self.shard is None else -(-self.width // self.shard[1])

    def tiles_of(self, box: Box) -> list[Box]:
        """Return the tiles that cover a pixel of a box or its margin, row by row, the order of adding their values."""
        around = box.grown(self.margin, self.scene)
        rows = _within(self.tile_rows, (around.y0, around.y1))
        columns = _within(self.tile_columns, (around.x0, around.x1))
        return [Box(*y, *x) for y, x in product(rows, columns)]

    def window_of(self, box: Box) -> Box:
        """Return the pixels that the values of a box depend on: those of its tiles."""
        tiles = self.tiles_of(box)
        return Box(tiles[0].y0, tiles[-1].y1, tiles[0].x0, tiles[-1].x1)

    @property
    def tile_rows(self) -> list[Span]:
        """First and last rows of the tiles."""
        return _spans(self.height, tile=self.tile, overlap=self.overlap)

    @property
    def tile_columns(self) -> list[Span]:
        """First and last columns of the tiles."""
        return _spans(self.width, tile=self.tile, overlap=self.overlap)

    def ramp(self, tile: Box, *, scale: int) -> NDArray[np.float32]:
        """Compute the weights of a tile in HR pixels: linear over the overlaps, flat at the edges of the scene."""
        return np.outer(
            _ramp(tile.y0, tile.y1, n=self.height, overlap=self.overlap, scale=scale),
            _ramp(tile.x0, tile.x1, n=self.width, overlap=self.overlap, scale=scale),
        )

    def steps(self, wanted: Collection[Box], *, side_by_side: int) -> Iterator[Step]:
        """Order the tiles of shards so that each tile is predicted once for all shards that are open.

        Shards are taken in strips of `side_by_side` columns of shards, each strip from top to bottom. Only the tiles
        across the border of two strips are predicted twice.

        Args:
            wanted: The shards to predict.
            side_by_side: Number of shards of a strip along a row.
        """
        wide = side_by_side * (self.width if self.shard is None else self.shard[1])
        for left in range(0, self.width, wide):
            strip = [box for box in self.shards if box in wanted and left <= box.x0 < left + wide]
            for rows in self.tile_rows:
                active = tuple(
                    box for box in strip if box.y0 - self.margin < rows[1] and rows[0] < box.y1 + self.margin
                )
                if active:
                    yield self._step(rows, active)

    def blocks(self, wanted: Collection[Box], *, edge: int) -> list[tuple[Box, ...]]:
        """Group shards into squares of `edge` x `edge` of them; tiles at the border of two squares belong to both.

        Args:
            wanted: The shards to group.
            edge: Edge of a square in shards.
        """
        rows, columns = self.shard or (self.height, self.width)
        groups: dict[tuple[int, int], list[Box]] = {}
        for box in self.shards:
            if box in wanted:
                groups.setdefault((box.y0 // (rows * edge), box.x0 // (columns * edge)), []).append(box)
        return [tuple(boxes) for boxes in groups.values()]

    def _step(self, rows: Span, shards: tuple[Box, ...]) -> Step:
        tiles_of = {box: self.tiles_of(box) for box in shards}
        last = {box: (tiles[-1].y0, tiles[-1].y1) for box, tiles in tiles_of.items()}
        columns = sorted({(tile.x0, tile.x1) for tiles in tiles_of.values() for tile in tiles})
        tiles = tuple(Box(*rows, *span) for span in columns)
        window = Box(*rows, columns[0][0], columns[-1][1])
        return Step(window, tiles, shards, tuple(box for box in shards if last[box] == rows))

    def rows_open(self) -> int:
        """Return the most rows of shards that are open at the same time."""
        high = self.height if self.shard is None else self.shard[0]
        around = [(max(0, start - self.margin), stop + self.margin) for start, stop in self.tile_rows]
        return max(min(-(-stop // high) * high, self.height) - start // high * high for start, stop in around)


def shard_shape(bands: int, height: int, width: int, *, scale: int) -> tuple[int, int]:
    """Return rows and columns of a shard of about 64 MiB in LR pixels, multiples of `BLOCK`.

    Args:
        bands: Bands C of the result.
        height: Rows of the LR-HSI.
        width: Its columns.
        scale: Ratio of the pixel sizes s.
    """
    edge = math.isqrt(_SHARD_BYTES // (4 * bands * scale**2)) // BLOCK * BLOCK
    edge = min(max(edge, BLOCK), _LONGEST_EDGE)
    rows, columns = (min(edge, -(-n // BLOCK) * BLOCK) for n in (height, width))
    return rows, columns


def _spans(n: int, *, tile: int, overlap: int) -> list[Span]:
    """Compute intervals of length min(tile, n) that cover ``range(n)``; the last one is shifted to end at n."""
    if n <= tile:
        return [(0, n)]
    step = tile - 2 * overlap
    starts = [*range(0, n - tile, step), n - tile]
    return [(start, start + tile) for start in starts]


def _within(spans: list[Span], wanted: Span) -> list[Span]:
    return [span for span in spans if span[0] < wanted[1] and wanted[0] < span[1]]


def _ramp(start: int, stop: int, *, n: int, overlap: int, scale: int) -> NDArray[np.float32]:
    """Compute the weights of a tile along one axis in HR pixels: ramps of 2 * overlap LR pixels, flat at the edges."""
    length, rise = (stop - start) * scale, 2 * overlap * scale
    position = np.arange(length) + 0.5
    weights = np.ones(length)
    if start > 0 and rise:
        weights = np.minimum(weights, position / rise)
    if stop < n and rise:
        weights = np.minimum(weights, (length - position) / rise)
    return weights.astype(np.float32)
