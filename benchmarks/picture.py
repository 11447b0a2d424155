"""Draw the picture of README.md: a test scene of CAVE, sharpened by a model that was trained on other scenes.

    python benchmarks/equal_time.py cave-x4 --method group-residual --seed 0 --root cave=/data/cave
    python benchmarks/picture.py

The first command trains for 20 minutes of CPU time and keeps data and model in .hsipipe/equal_time. Of a run of the
pipeline: --data . --model models/group-residual. The enlarged part and the pixels are chosen from the truth alone.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image
from record import ROOT

from hsipipe.artifacts import DegradedPairs
from hsipipe.evaluation.evidence import (
    PIXEL_KINDS,
    choose_detail,
    choose_pixels,
    display_bands,
    mean_absolute_error,
    stretch,
    to_rgb,
)
from hsipipe.evaluation.figures import new_figure, quiet, save
from hsipipe.evaluation.scoring import score
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.catalogue import load_model

TILE, OVERLAP = 128, 8
TABLE = ROOT / ".hsipipe" / "equal_time" / "cave-x4"
PIXELS = ("median", "textured")
"""Kinds of the pixels whose spectra are shown."""
TINTS = ("#000000", "#0072b2", "#d55e00")
"""Of the truth, bicubic and ours."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=TABLE, help="folder with data/pairs")
    parser.add_argument("--model", type=Path, default=TABLE / "rows" / "group-residual-0" / "group-residual")
    parser.add_argument("--scene", default="fake_and_real_food", help="test scene of --data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "result.webp")
    options = parser.parse_args()
    pair, model = DegradedPairs.in_project(options.data).read("test", options.scene), load_model(options.model)
    methods = {"bicubic": Bicubic(model.scale), f"ours ({model.name})": model}
    found = {name: predict_scene(method, pair.lr, tile=TILE, overlap=OVERLAP) for name, method in methods.items()}
    captions = {name: caption(cube, pair, model.scale) for name, cube in found.items()}
    buffer = io.BytesIO()
    save(draw(pair, found, captions, scale=model.scale), buffer)
    Image.open(buffer).convert("RGB").save(options.out, quality=88, method=6)
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e3:.0f} kB): {options.scene}; {captions}")


def caption(cube, pair, scale):
    scores = score(cube, pair.hr, scale)
    return f"{scores['mpsnr_db']:.1f} dB, SAM {scores['sam_deg']:.1f}°"


def draw(pair, found, captions, *, scale):
    """One row: scene, then input, predictions, truth and errors of its part; below, the spectra of two pixels."""
    part = choose_detail(pair.hr)
    y, x, height, width = part
    cubes = {name: cube[:, y : y + height, x : x + width] for name, cube in {"truth": pair.hr, **found}.items()}
    low = pair.lr[:, y // scale : -(-(y + height) // scale), x // scale : -(-(x + width) // scale)]
    chosen = dict(zip(PIXEL_KINDS, choose_pixels(cubes["truth"]).tolist(), strict=True))
    pixels = {kind: chosen[kind] for kind in PIXELS}
    figure = new_figure(14, 4.6)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    _images(upper, pair, cubes, low, part=part, pixels=pixels, captions=captions)
    _spectra(lower, cubes, pixels, pair.wavelength_nm)
    return figure


def _images(figure, pair, cubes, low, *, part, pixels, captions):
    bands = display_bands(len(pair.hr), pair.wavelength_nm)
    limits = stretch(pair.hr[bands])
    y, x, height, width = part
    axes = figure.subplots(1, 7)
    axes[0].imshow(to_rgb(pair.hr[bands], *limits))
    axes[0].add_patch(_frame(x, y, width, height))
    axes[0].set_title("test scene\nand the part shown", fontsize=10)
    truth = cubes["truth"]
    shown = {"LR input": low, **{f"{name}\n{text}": cubes[name] for name, text in captions.items()}, "truth": truth}
    for axis, (title, cube) in zip(axes[1:], shown.items(), strict=False):
        axis.imshow(to_rgb(cube[bands], *limits), extent=(0, width, height, 0), interpolation="nearest")
        axis.set_title(title, fontsize=10)
    errors = [mean_absolute_error(cubes[name], truth).astype(np.float32) for name in captions]
    top = float(np.percentile(errors, 99.5))
    for axis, title, values in zip(axes[5:], ("error of bicubic", "error of ours"), errors, strict=True):
        drawn = axis.imshow(values, cmap="magma", vmin=0, vmax=top)
        axis.set_title(f"{title}\nmean {values.mean():.4f}", fontsize=10)
    for axis in axes:
        axis.set_axis_off()
    for number, (row, column) in enumerate(pixels.values(), start=1):
        axes[4].plot(column + 0.5, row + 0.5, "o", markersize=8, markerfacecolor="none", markeredgecolor="white")
        style = {"color": "white", "fontsize": 10, "bbox": {"facecolor": TINTS[2], "pad": 1.5}}
        axes[4].annotate(str(number), (column, row), xytext=(6, 4), textcoords="offset points", **style)
    figure.colorbar(drawn, ax=axes[6], fraction=0.05).ax.tick_params(labelsize=8)


def _frame(x, y, width, height):
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, fill=False, edgecolor="white", linewidth=1.5)


def _spectra(figure, cubes, pixels, wavelength_nm):
    axes = figure.subplots(1, 2)
    for number, (axis, (kind, (row, column))) in enumerate(zip(axes, pixels.items(), strict=True), start=1):
        for (name, cube), tint in zip(cubes.items(), TINTS, strict=True):
            wide = 2.4 if name == "truth" else 1.4
            axis.plot(wavelength_nm, cube[:, row, column], color=tint, linewidth=wide, label=name)
        axis.set_title(f"spectrum of pixel {number} ({kind})", fontsize=10)
        axis.set_xlabel("wavelength (nm)", fontsize=9)
        quiet(axis)
    axes[0].set_ylabel("value (full range 1)", fontsize=9)
    axes[1].legend(fontsize=9, frameon=False)


if __name__ == "__main__":
    main()
