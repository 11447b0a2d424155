"""`synthetic`: seeded scenes of farmland, roads and villages, for runs without a download.

The scenes of one seed share a library of endmember spectra and differ in layout. Every pixel is a mixture of the
library, so the cubes have the low spectral rank of real ones, with sharp borders, thin lines and texture for a
super-resolution model to recover.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsipipe.datasets.base import Dataset
from hsipipe.datasets.synthetic_layout import draw_layout
from hsipipe.datasets.synthetic_render import FINE, render
from hsipipe.datasets.synthetic_spectra import endmembers
from hsipipe.params import SyntheticParams
from hsipipe.progress import progress
from hsipipe.storage.stores import ArraySpec, create_store, get_array, rows_per_chunk, write_small

FIRST_NM, LAST_NM = 400.0, 1000.0
# Samples of the fine grid per strip, so that no scene is held in memory as a whole.
_STRIP = 1 << 21


class SyntheticDataset(Dataset):
    """Generated scenes, one Zarr store per scene."""

    def generate(self, params: SyntheticParams, out: Path) -> Mapping[str, Path]:
        """Generate the scenes; the same parameters give the same bytes."""
        stores = {name: out / f"{name}.zarr" for name in (f"synthetic_{n:02d}" for n in range(params.scenes))}
        with progress("make scenes", total=len(stores)) as advance:
            for number, (name, path) in enumerate(stores.items()):
                write_scene(params, number, path)
                advance(note=name)
        return stores


def wavelengths(bands: int) -> NDArray[np.float64]:
    """Return evenly spaced band centres in nm, (bands,)."""
    return np.linspace(FIRST_NM, LAST_NM, bands)


def write_scene(params: SyntheticParams, number: int, path: Path) -> None:
    """Generate scene `number` and write it strip by strip."""
    nm = wavelengths(params.bands)
    shape = (params.bands, params.size, params.size)
    rows = min(rows_per_chunk(shape), max(1, _STRIP // (params.size * FINE * FINE)))
    spec = ArraySpec(
        shape=shape,
        dims=("band", "y", "x"),
        chunks=(params.bands, rows, params.size),
        attrs={"units": "1", "long_name": "reflectance", "coordinates": "wavelength_nm"},
    )
    group = create_store(path, {"reflectance": spec}, attrs={"title": f"synthetic scene {number}"})
    write_small(group, "wavelength_nm", nm, dim="band", units="nm")
    array = get_array(group, "reflectance")
    rng = np.random.default_rng(np.random.SeedSequence(params.seed, spawn_key=(1, number)))
    layout = draw_layout(params.size, rng)
    strips = render(layout, params.size, endmembers(nm, params.seed), rng, rows=rows)
    for start, strip in zip(range(0, params.size, rows), strips, strict=True):
        array[:, start : start + rows] = strip


SYNTHETIC = SyntheticDataset(
    name="synthetic",
    title="Synthetic farmland",
    licence="Apache-2.0",
    doi="",
    bands=None,
    wavelength_nm=(),
    gsd_m=None,
    scale=1.0,
    layout="nothing, the scenes are generated",
)
