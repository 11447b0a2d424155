"""Images, error maps and spectra of a scene for the report, kept small. Arrays only, no pickle.

Ceilings are not included: they bound the results and are not results.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts import Pair
from hsipipe.artifacts.views import Cube
from hsipipe.errors import FileFormatError, MissingInputError
from hsipipe.evaluation.calibration import SUMS_SHAPE, calibration_sums
from hsipipe.evaluation.ensemble import Ensemble
from hsipipe.evaluation.metrics import band_mse, band_psnr_db
from hsipipe.evaluation.power_spectra import mean_power
from hsipipe.evaluation.windows import windows

DISPLAY_NM = (650.0, 550.0, 450.0)
_REACH_NM = 40.0
_GAMMA = 1 / 2.2
NO_DATA_GREY = 128
"""Grey of pixels without data in the pictures."""
PICTURED = 3
"""Samples that the report shows."""
MOST_EDGE = 1024
"""Largest edge of a picture; of a larger scene every second, third ... pixel is shown."""
PIXEL_KINDS = ("bright", "median", "dark", "textured")
"""Kinds of the pixels whose spectra are shown, in this order."""


@dataclass(frozen=True, eq=False)
class SceneEvidence:
    """One test scene; R rows, C bands, P chosen pixels; H and W are those of the pictures.

    Attributes:
        step: HR pixels of the scene per pixel of the pictures, int32.
        hr_rgb: False colour of the truth (H, W, 3) uint8.
        lr_rgb: False colour of the input (h, w, 3) uint8, same stretch.
        rgb: False colour of each row's prediction (R, H, W, 3) uint8, same stretch.
        error: Mean over bands of the absolute error (R, H, W) float16.
        spread_rows: Indices (U,) int32 of the U rows that are means of several samples.
        width: Mean over bands of the width of the 90 % interval of these rows (U, H, W) float16.
        samples: False colour of three samples of these rows in the enlarged part (U, 3, h, w, 3) uint8.
        calibration: Their :data:`hsipipe.evaluation.calibration.Sums` (U, 6, bins) float64.
        frequency: Frequencies (F,) float32 of the power spectra, in cycles per pixel.
        hr_power: Power spectrum of the truth, mean over bands (F,) float64.
        power: That of each row's prediction (R, F) float64.
        sample_power: That of one sample of the rows with samples (U, F) float64.
        band_psnr_db: PSNR of each row and band (R, C) float32.
        pixels: Chosen pixels of the scene as (y, x), (P, 2) int32: bright, median, dark, textured.
        hr_spectra: True spectra of these pixels (P, C) float32.
        spectra: Predicted spectra of these pixels (R, P, C) float32.
        wavelength_nm: Band centres (C,), NaN where unknown.
        display_bands: Bands shown as red, green, blue (3,) int32.
        detail: The part of the scene shown enlarged, as (y, x, height, width), (4,) int32.
    """

    step: NDArray[np.int32]
    hr_rgb: NDArray[np.uint8]
    lr_rgb: NDArray[np.uint8]
    rgb: NDArray[np.uint8]
    error: NDArray[np.float16]
    spread_rows: NDArray[np.int32]
    width: NDArray[np.float16]
    samples: NDArray[np.uint8]
    calibration: NDArray[np.float64]
    frequency: NDArray[np.float32]
    hr_power: NDArray[np.float64]
    power: NDArray[np.float64]
    sample_power: NDArray[np.float64]
    band_psnr_db: NDArray[np.float32]
    pixels: NDArray[np.int32]
    hr_spectra: NDArray[np.float32]
    spectra: NDArray[np.float32]
    wavelength_nm: NDArray[np.float64]
    display_bands: NDArray[np.int32]
    detail: NDArray[np.int32]

    @classmethod
    def of(cls, pair: Pair, prediction: Cube, ensemble: Ensemble) -> "SceneEvidence":
        """Reduce a scene to the data that the report shows of one row.

        Args:
            pair: The scene.
            prediction: (C, H, W).
            ensemble: Its samples, or the prediction alone.
        """
        hr, bands = pair.opened(pair.hr), display_bands(len(pair.hr), pair.wavelength_nm)
        scored = pair.scored(prediction)
        prediction, lr = pair.opened(prediction), pair.opened_lr()
        step = picture_step(hr.shape)
        truth, low_step = thinned(hr, bands, step), picture_step(lr.shape)
        low, high = stretch(truth)
        pixels, detail = choose_pixels(hr), choose_detail(hr)
        y, x = pixels.T
        known = pair.wavelength_nm is not None
        frequency, hr_power = mean_power(hr, pair.valid)
        return cls(
            step=np.array(step, np.int32),
            hr_rgb=to_rgb(truth, low, high),
            lr_rgb=to_rgb(thinned(lr, bands, low_step), low, high),
            rgb=to_rgb(thinned(prediction, bands, step), low, high)[None],
            error=mean_absolute_error(prediction, hr, step=step)[None],
            frequency=frequency.astype(np.float32),
            hr_power=hr_power,
            power=mean_power(prediction, pair.valid)[1][None],
            band_psnr_db=band_psnr_db(band_mse(scored, pair.scored(pair.hr)))[None].astype(np.float32),
            pixels=pixels,
            hr_spectra=hr[:, y, x].T.astype(np.float32),
            spectra=prediction[:, y, x].T[None].astype(np.float32),
            wavelength_nm=np.asarray(pair.wavelength_nm if known else np.full(len(hr), np.nan), np.float64),
            display_bands=np.asarray(bands, np.int32),
            detail=np.asarray(detail, np.int32),
            **_of_samples(
                pair, ensemble, step, lambda cube: to_rgb(_cut(pair.opened(cube[bands]), detail, step), low, high)
            ),
        )

    @classmethod
    def together(cls, scenes: Sequence["SceneEvidence"]) -> "SceneEvidence":
        """Merge evidence of the same scene: one object with the rows of all."""
        spread_rows, before = [], 0
        for scene in scenes:
            spread_rows.append(scene.spread_rows + before)
            before += len(scene.rgb)
        by_row = ["rgb", "error", "power", "band_psnr_db", "spectra"]
        by_row += ["width", "samples", "calibration", "sample_power"]
        stacked = {name: np.concatenate([getattr(scene, name) for scene in scenes]) for name in by_row}
        return replace(scenes[0], spread_rows=np.concatenate(spread_rows), **stacked)

    def save(self, path: Path) -> None:
        """Write as .npz."""
        with path.open("wb") as file:
            np.savez_compressed(file, **{entry.name: getattr(self, entry.name) for entry in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "SceneEvidence":
        """Load a file written by :meth:`save`.

        Raises:
            MissingInputError: There is no such file.
            FileFormatError: The file is damaged or has another format.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                return cls(**{entry.name: archive[entry.name] for entry in fields(cls)})
        except FileNotFoundError as error:
            raise MissingInputError(f"No {path.name} in {path.parent}; run the stage evaluate.") from error
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise FileFormatError(f"{path} holds no scene evidence ({error}); run the stage evaluate.") from error


def _of_samples(
    pair: Pair, ensemble: Ensemble, step: int, picture: Callable[[Any], NDArray[np.uint8]]
) -> dict[str, Any]:
    """The fields of rows with samples, empty without."""
    height, width = (-(-size // step) for size in pair.hr.shape[1:])
    rings = min(pair.hr.shape[1:]) // 2
    if not ensemble.varies:
        part = picture(ensemble.samples[0]).shape
        return {
            "spread_rows": np.zeros(0, np.int32),
            "width": np.zeros((0, height, width), np.float16),
            "samples": np.zeros((0, PICTURED, *part), np.uint8),
            "calibration": np.zeros((0, *SUMS_SHAPE)),
            "sample_power": np.zeros((0, rings)),
        }
    count, pixels = len(ensemble.samples), ensemble.at(pair.valid)
    wide = (2 * ensemble.half_width().mean(axis=0, dtype=np.float64)).astype(np.float16)[None]
    return {
        "spread_rows": np.zeros(1, np.int32),
        "width": pair.opened(wide)[:, ::step, ::step],
        "samples": np.stack([picture(ensemble.samples[number % count]) for number in range(PICTURED)])[None],
        "calibration": calibration_sums(pixels.expected_error, pixels.centre, np.asarray(pair.scored(pair.hr)))[None],
        "sample_power": mean_power(ensemble.samples[0], pair.valid)[1][None],
    }


def picture_step(shape: tuple[int, ...]) -> int:
    """Return how many pixels of an image (C, H, W) one pixel of its picture stands for."""
    return -(-max(shape[1:]) // MOST_EDGE)


def thinned(cube: Cube, chosen: Sequence[int], step: int) -> NDArray[np.floating[Any]]:
    """Read some bands of an image (C, H, W) at every `step`-th row and column."""
    return np.stack([cube[band, ::step, ::step] for band in chosen])


def _cut(cube: Cube, part: tuple[int, int, int, int], step: int) -> NDArray[np.floating[Any]]:
    y, x, height, width = part
    return cube[:, y : y + height : step, x : x + width : step]


def display_bands(bands: int, wavelength_nm: NDArray[np.float64] | None) -> list[int]:
    """Bands for red, green and blue: nearest to 650, 550 and 450 nm, else spread evenly, longest wavelength first."""
    if wavelength_nm is not None:
        nearest = [int(np.abs(wavelength_nm - target).argmin()) for target in DISPLAY_NM]
        off = np.abs(np.asarray(wavelength_nm)[nearest] - DISPLAY_NM)
        if (off <= _REACH_NM).all() and len(set(nearest)) == len(nearest):
            return nearest
    return [round((bands - 1) * part) for part in (5 / 6, 3 / 6, 1 / 6)]


def stretch(truth: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Black and white point for display, the same for every picture of a scene: 0.5 and 99.5 percentiles.

    NaN is no data.
    """
    low, high = (float(value) for value in np.nanpercentile(truth, (0.5, 99.5)))
    return (low, high) if high > low else (low, low + 1)


def to_rgb(planes: NDArray[np.floating[Any]], low: float, high: float) -> NDArray[np.uint8]:
    """Convert three bands (3, H, W) to an image (H, W, 3), stretched and with a display gamma of 2.2.

    Pixels without data are grey.
    """
    unit = np.clip((planes.astype(np.float64) - low) / (high - low), 0, 1)
    missing = np.isnan(unit).any(axis=0)
    image = np.round(255 * np.where(missing, 0, unit).transpose(1, 2, 0) ** _GAMMA).astype(np.uint8)
    image[missing] = NO_DATA_GREY
    return image


def choose_pixels(hr: Cube) -> NDArray[np.int32]:
    """Choose the pixels whose spectra are shown, from the truth alone: bright, median, dark and textured.

    They have the mean brightness nearest the 98th, 50th and 10th percentile, and the largest local contrast. The
    brightest and the darkest pixel would often be a specular spot or a dead corner. Pixels without data (NaN), and the
    contrast next to them, do not count.
    """
    step = picture_step(hr.shape)
    brightness = _brightness(hr, step)
    targets = np.nanpercentile(brightness, (98, 50, 10))
    flat = [int(np.nanargmin(np.abs(brightness - target))) for target in targets]
    contrast = np.nan_to_num(_contrast(brightness), nan=0.0)
    # Not at the border, where a model lacks context and the marker is cut off.
    margin = tuple(size // 20 for size in contrast.shape)
    inside = np.zeros_like(contrast)
    inner = tuple(slice(m, size - m) for m, size in zip(margin, contrast.shape, strict=True))
    inside[inner] = contrast[inner]
    # Without any contrast, the first pixel with data.
    flat.append(int(np.where(np.isnan(brightness), -1, inside).argmax()))
    return step * np.stack(np.unravel_index(flat, brightness.shape), axis=1).astype(np.int32)


def choose_detail(hr: Cube) -> tuple[int, int, int, int]:
    """The quarter of the truth with the densest texture, as (y, x, height, width); NaN is no data and no texture."""
    step = picture_step(hr.shape)
    brightness = np.pad(_brightness(hr, step), 1, mode="edge")
    neighbours = brightness[:-2, 1:-1] + brightness[2:, 1:-1] + brightness[1:-1, :-2] + brightness[1:-1, 2:]
    # The Laplacian responds to fine detail, which super-resolution should restore, and not to broad shading.
    contrast = np.abs(4 * brightness[1:-1, 1:-1] - neighbours)
    # Clipped, so that one sharp edge does not outweigh a textured surface.
    contrast = np.nan_to_num(np.minimum(contrast, np.nanpercentile(contrast, 90)), nan=0.0)
    height, width = (max(min(8, size), size // 4) for size in contrast.shape)
    total = np.pad(contrast, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    window = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    y, x = np.unravel_index(int(window.argmax()), window.shape)
    return step * int(y), step * int(x), step * height, step * width


def mean_absolute_error(sr: Cube, hr: Cube, *, step: int = 1) -> NDArray[np.float16]:
    """Mean over bands of the absolute error, at every `step`-th row and column of (H, W)."""
    rows = []
    for parts in windows(sr, hr, multiple=step):
        part, truth = (values[:, ::step, ::step] for values in parts)
        total = np.zeros(truth.shape[1:], dtype=np.float64)
        for a, b in zip(part, truth, strict=True):
            total += np.abs(a.astype(np.float64) - b)
        rows.append((total / len(hr)).astype(np.float16))
    return np.concatenate(rows)


def _brightness(cube: Cube, step: int) -> NDArray[np.float64]:
    parts = windows(cube, multiple=step)
    return np.concatenate([part[:, ::step, ::step].mean(axis=0, dtype=np.float64) for (part,) in parts])


def _contrast(brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    dy, dx = np.gradient(brightness)
    return np.asarray(np.hypot(dy, dx), dtype=np.float64)
