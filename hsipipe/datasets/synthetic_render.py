"""Render a layout to reflectance: abundances on a fine grid, averaged over the pixels, times the endmembers."""

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hsipipe.datasets.synthetic_layout import Coordinates, Cut, Layout, Shape
from hsipipe.datasets.synthetic_spectra import MATERIALS

# Samples per pixel and axis.
FINE = 3
# Standard deviation of the sensor noise in reflectance: 40 to 50 dB below usual scenes.
_NOISE = 0.0015
# Reflectance is quantised to steps of 2^-16, as by a 16-bit sensor: it compresses well, and hides last-bit differences
# between machines.
_STEPS = 65536.0


def render(
    layout: Layout, size: int, spectra: NDArray[np.float64], rng: Generator, *, rows: int
) -> Iterator[NDArray[np.float32]]:
    """Render a scene in strips.

    Args:
        layout: Layout of the scene.
        size: Height and width in pixels.
        spectra: Endmembers (materials, bands).
        rng: Generator of texture, illumination and noise.
        rows: Rows per strip.

    Yields:
        (bands, rows, size), float32 in [0, 1], from north to south.
    """
    patches = _texture(size, (2.0, 6.0), rng)
    light = 1.0 + 0.06 * _texture(size, (size / 6.0,), rng) + 0.02 * _texture(size, (1.2,), rng)
    for top in range(0, size, rows):
        strip = slice(top, min(top + rows, size))
        abundances = _abundances(layout, strip, patches[strip])
        values = np.einsum("kb,kyx->byx", spectra, abundances * light[strip])
        values += rng.normal(0.0, _NOISE, size=values.shape)
        yield (np.round(np.clip(values, 0.0, 1.0) * _STEPS) / _STEPS).astype(np.float32)


def _texture(size: int, widths: tuple[float, ...], rng: Generator) -> NDArray[np.float32]:
    """Draw correlated noise of zero mean and unit variance, summed over correlation lengths in pixels."""
    total = np.zeros((size, size), dtype=np.float32)
    for width in widths:
        layer = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), width, mode="wrap")
        total += layer / max(float(layer.std()), 1e-6)
    return total / np.float32(np.sqrt(len(widths)))


def _abundances(layout: Layout, strip: slice, patches: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the abundances of the materials times their brightness, (materials, rows, size)."""
    size = patches.shape[1]
    y, x = _grid(strip, size)
    fields, border = _locate(layout, y, x)
    main, second, share, brightness = _covers(layout, fields, y, x, _repeat(patches))
    on_border = border >= 0
    main = np.where(on_border, border, main)
    share = np.where(on_border, 0.0, share)
    _flood(layout, y, x, main, share, brightness)
    for shape in layout.shapes:
        _stamp(shape, strip, size, main, share, brightness)
    out = np.empty((len(MATERIALS), strip.stop - strip.start, size))
    for k in range(len(MATERIALS)):
        fine = brightness * ((main == k) * (1.0 - share) + (second == k) * share)
        out[k] = fine.reshape(out.shape[1], FINE, size, FINE).mean(axis=(1, 3))
    return out


def _grid(strip: slice, size: int) -> tuple[Coordinates, Coordinates]:
    def axis(start: int, stop: int) -> Coordinates:
        return ((np.arange(start * FINE, stop * FINE) + 0.5) / FINE).astype(np.float32)

    y, x = np.meshgrid(axis(strip.start, strip.stop), axis(0, size), indexing="ij")
    return y, x


def _repeat(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values.repeat(FINE, axis=0).repeat(FINE, axis=1)


def _locate(layout: Layout, y: Coordinates, x: Coordinates) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Find the field of every sample, and the cover of a road or hedge on it (-1 without one)."""
    fields = np.zeros(y.size, dtype=np.int32)
    border = np.full(y.size, -1, dtype=np.int32)
    flat_y, flat_x = y.ravel(), x.ravel()
    todo: list[tuple[Cut | int, NDArray[np.int64]]] = [(layout.land, np.arange(y.size))]
    while todo:
        land, where = todo.pop()
        if isinstance(land, int):
            fields[where] = land
            continue
        distance = land.normal[0] * flat_y[where] + land.normal[1] * flat_x[where] - land.offset
        if land.half_width > 0:
            near = where[np.abs(distance) < land.half_width]
            # The first border takes precedence: a hedge does not cross a road.
            border[near[border[near] < 0]] = land.cover
        todo.append((land.left, where[distance <= 0]))
        todo.append((land.right, where[distance > 0]))
    return fields.reshape(y.shape), border.reshape(y.shape)


def _covers(
    layout: Layout, fields: NDArray[np.int32], y: Coordinates, x: Coordinates, patches: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    def of(name: str) -> NDArray[np.float64]:
        return np.array([getattr(f, name) for f in layout.fields], dtype=np.float64)[fields]

    angle = of("angle")
    phase = 2 * np.pi * (np.cos(angle) * y + np.sin(angle) * x) / of("period")
    share = of("share") + of("patchiness") * patches + of("rows") * np.sin(phase)
    return of("main").astype(int), of("second").astype(int), np.clip(share, 0.0, 1.0), of("brightness")


def _flood(
    layout: Layout,
    y: Coordinates,
    x: Coordinates,
    main: NDArray[np.int64],
    share: NDArray[np.float64],
    brightness: NDArray[np.float64],
) -> None:
    if layout.river is None:
        return
    angle, offset, sway, length, half_width = layout.river
    along = -np.sin(angle) * y + np.cos(angle) * x
    across = np.cos(angle) * y + np.sin(angle) * x - offset - sway * np.sin(2 * np.pi * along / length)
    across -= (np.cos(angle) + np.sin(angle)) * x.shape[1] / FINE / 2
    bank, wet = np.abs(across) < half_width + 1.0, np.abs(across) < half_width
    main[bank], share[bank] = MATERIALS.index("forest"), 0.0
    main[wet], brightness[wet] = MATERIALS.index("water"), 1.0


def _stamp(
    shape: Shape,
    strip: slice,
    size: int,
    main: NDArray[np.int64],
    share: NDArray[np.float64],
    brightness: NDArray[np.float64],
) -> None:
    reach = float(np.hypot(*shape.half)) + 1.0
    low_y, high_y = (int((shape.centre[0] + sign * reach - strip.start) * FINE) for sign in (-1, 1))
    low_x, high_x = (int((shape.centre[1] + sign * reach) * FINE) for sign in (-1, 1))
    window = slice(max(low_y, 0), max(high_y, 0)), slice(max(low_x, 0), max(high_x, 0))
    if not main[window].size:
        return
    y = (np.arange(main.shape[0])[window[0]] + 0.5) / FINE + strip.start - shape.centre[0]
    x = (np.arange(main.shape[1])[window[1]] + 0.5) / FINE - shape.centre[1]
    cosine, sine = np.cos(shape.angle), np.sin(shape.angle)
    u = (cosine * y[:, None] + sine * x) / shape.half[0]
    v = (cosine * x - sine * y[:, None]) / shape.half[1]
    hit = u**2 + v**2 < 1 if shape.round else np.maximum(np.abs(u), np.abs(v)) < 1
    main[window][hit], share[window][hit], brightness[window][hit] = shape.cover, 0.0, shape.brightness
