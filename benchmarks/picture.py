"""Draw the picture of README.md from the evidence that a run of the pipeline has kept.

python -m tasks repro -S 'compare=[bicubic,pca-residual]'
python benchmarks/picture.py --row pca-residual
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.figures import new_figure, quiet, save

BASELINE = "bicubic"
PIXELS = {1: "median brightness", 3: "most texture"}
"""Pixels whose spectra are shown, of those that the evidence chose from the truth alone."""
TINTS = {"truth": "#000000", "bicubic": "#0072b2", "ours": "#d55e00"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, default=Path("reports/scores"), help="folder of the scores of a run")
    parser.add_argument("--row", default="pca-residual", help="row of the table that is ours")
    parser.add_argument("--scene", help="test scene; default: the first")
    parser.add_argument("--out", type=Path, default=Path("docs/images/result.webp"))
    options = parser.parse_args()
    names = sorted(path.stem for path in (options.scores / options.row).glob("*.npz"))
    name = options.scene or names[0]
    rows = (BASELINE, options.row)
    scene = SceneEvidence.together([SceneEvidence.load(options.scores / row / f"{name}.npz") for row in rows])
    buffer = io.BytesIO()
    save(draw(scene, options.row), buffer)
    Image.open(buffer).convert("RGB").save(options.out, quality=88, method=6)
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e3:.0f} kB): {name}")


def draw(scene, row):
    """One row: input, prediction of both, truth, error of both, and the spectra of two pixels."""
    figure = new_figure(14, 4.6)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    _images(upper, scene, row)
    _spectra(lower, scene, row)
    return figure


def _images(figure, scene, row):
    height, width = scene.hr_rgb.shape[:2]
    errors = scene.error.astype(np.float32)
    top = float(np.percentile(errors, 99.5))
    axes = figure.subplots(1, 6)
    shown = ("LR input", scene.lr_rgb), ("bicubic", scene.rgb[0]), (f"ours ({row})", scene.rgb[1])
    for axis, (title, image) in zip(axes, (*shown, ("truth", scene.hr_rgb)), strict=False):
        axis.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
        axis.set_title(title, fontsize=11)
    for axis, title, values in zip(axes[4:], ("error of bicubic", "error of ours"), errors, strict=True):
        drawn = axis.imshow(values, cmap="magma", vmin=0, vmax=top, extent=(0, width, height, 0))
        axis.set_title(f"{title}\nmean {values.mean():.4f}", fontsize=11)
    for axis in axes:
        axis.set_axis_off()
    for number, index in enumerate(PIXELS, start=1):
        y, x = scene.pixels[index]
        axes[3].plot(x + 0.5, y + 0.5, "o", markersize=9, markerfacecolor="none", markeredgecolor=TINTS["ours"])
        place = {"xytext": (7, 5), "textcoords": "offset points", "bbox": {"facecolor": TINTS["ours"], "pad": 1.5}}
        axes[3].annotate(str(number), (x, y), color="white", fontsize=11, fontweight="bold", **place)
    bar = figure.colorbar(drawn, ax=axes[5], fraction=0.05)
    bar.ax.tick_params(labelsize=8)


def _spectra(figure, scene, row):
    axes = figure.subplots(1, 2)
    for number, (axis, (index, kind)) in enumerate(zip(axes, PIXELS.items(), strict=True), start=1):
        lines = {"truth": scene.hr_spectra[index], "bicubic": scene.spectra[0, index]}
        lines |= {f"ours ({row})": scene.spectra[1, index]}
        for name, values in lines.items():
            tint = TINTS[name.partition(" ")[0]]
            axis.plot(scene.wavelength_nm, values, color=tint, linewidth=2.4 if name == "truth" else 1.4, label=name)
        axis.set_title(f"spectrum of pixel {number}: {kind}", fontsize=11)
        axis.set_xlabel("wavelength (nm)", fontsize=9)
        quiet(axis)
    axes[0].set_ylabel("value (full range 1)", fontsize=9)
    axes[1].legend(fontsize=9, frameon=False)


if __name__ == "__main__":
    main()
