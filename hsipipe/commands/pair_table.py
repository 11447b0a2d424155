"""Describe how well the two images of a pair fit each other."""

from pathlib import Path

import numpy as np
from rich.table import Table

from hsipipe.bands import band_label
from hsipipe.degradation.estimate import estimate_response, explained
from hsipipe.degradation.psf import Psf
from hsipipe.degradation.shift_field import ShiftField, align, estimate_field
from hsipipe.formats import open_cube
from hsipipe.inference.pair import MsiFile
from hsipipe.sharpen.pair import psf_of_pair, ratio_of, read_pair
from hsipipe.sharpen.regions import check_size
from hsipipe.sharpen.scene import read_scene

_USUAL = Psf("gaussian", mtf=0.3)


def pair_table(
    source: Path, msi: MsiFile, *, full_scale: float | None = None, variable: str | None = None
) -> tuple[Table, ShiftField]:
    """Return a table of sizes, PSF, shifts before and after an alignment, and explained bands, and the shifts.

    Of a large scene its middle is looked at.

    Args:
        source: LR-HSI.
        msi: HR-MSI of the same ground.
        full_scale: Value of the LR-HSI that maps to 1.0; None: as the file says, or a likely one.
        variable: Array to read, if the file of the LR-HSI contains several.

    Raises:
        DataError: The LR-HSI is too small, or the images do not show the same ground, or have no common texture.
        HsipipeError: A file cannot be read.
    """
    cube = open_cube(source, variable=variable)
    scale = ratio_of(cube, msi)
    check_size(*cube.shape[1:], scale=scale)
    scene = read_scene(cube, source, scale=scale, full_scale=full_scale)
    fine, _, _ = read_pair(msi, scene, scale=scale, psf=_USUAL)
    field = estimate_field(scene.values, fine, scale=scale, psf=_USUAL)
    aligned = align(fine, field)
    psf, note = psf_of_pair(scene.values, aligned, scale=scale, fallback=_USUAL)
    shares = []
    for image in (fine, aligned):
        matrix = estimate_response(scene.values, image, scale=scale, psf=psf)
        shares.append(explained(scene.values, image, scale=scale, psf=psf, response=matrix))
    length = np.linalg.norm(field.grid(), axis=0)
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = {
        "LR-HSI": "{} bands, {} x {} pixels".format(*scene.values.shape),
        "HR-MSI": "{} bands, {} x {} pixels, ratio {}".format(*fine.shape, scale),
        "PSF": note,
        "shift": f"{length.mean():.2f} HR pixels in the mean, {length.max():.2f} at most",
        "residual": f"{field.before:.2f} HR pixels before, {field.after:.2f} after the alignment (RMS of "
        f"{field.windows} windows)",
        "field": f"polynomial of degree {field.degree}",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    for band, (one, two) in enumerate(zip(*shares, strict=True)):
        table.add_row(f"explained of {band_label(band)}", f"{max(one, 0):.1%} before, {max(two, 0):.1%} after")
    return table, field
