"""CAVE scenes in few bytes and without loss, one .npz a scene, to carry them to a machine without a network.

The published PNGs are larger: neighbouring bands and pixels are alike, so their differences are packed, high and low
bytes apart. 16-bit arithmetic wraps around, which the sum undoes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import hsipipe
from hsipipe.datasets.cave import CAVE
from hsipipe.errors import DataError, MissingInputError

FULL_SCALE = 65535
LIMIT_BYTES = 30_000_000
SUFFIX = ".packed.npz"


def pack(source: Path, target: Path, *, scenes: int | None = None, edge: int | None = None) -> dict[str, int]:
    """Write the scenes of a CAVE folder into `target`.

    Args:
        source: Folder of ``<scene>_ms`` folders.
        target: Made if it is not there.
        scenes: This many, evenly spread over their names; None: all.
        edge: The upper left corner of this many rows and columns alone, for a trial; None: whole scenes.

    Returns:
        Bytes of each file.

    Raises:
        MissingInputError: There is no scene.
        DataError: A file would be larger than 30 MB.
    """
    found = CAVE.find(source)
    if not found:
        raise MissingInputError(f"No scene in {source}. Expected there: {CAVE.layout}.")
    names = sorted(found)
    if scenes is not None:
        names = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, scenes).round().astype(int))]
    target.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name in names:
        cube = hsipipe.open_cube(found[name]).values[:, :edge, :edge]
        path = target / f"{name}{SUFFIX}"
        np.savez_compressed(path, differences=encode(np.rint(cube.astype(np.float64) * FULL_SCALE).astype(np.uint16)))
        sizes[path.name] = path.stat().st_size
        if sizes[path.name] > LIMIT_BYTES:
            raise DataError(f"{path} has {sizes[path.name]} bytes, expected at most {LIMIT_BYTES}; pack with --edge.")
    return sizes


def unpack(source: Path, target: Path) -> list[str]:
    """Write every packed scene of `source` into the empty folder `target` as .npy, uint16 (band, y, x).

    Raises:
        MissingInputError: There is none.
    """
    files = sorted(source.glob(f"*{SUFFIX}"))
    if not files:
        raise MissingInputError(f"No *{SUFFIX} in {source}; make them with --pack.")
    names = []
    for file in files:
        with np.load(file, allow_pickle=False) as archive:
            cube = decode(archive["differences"])
        names.append(file.name.removesuffix(SUFFIX))
        np.save(target / f"{names[-1]}.npy", cube, allow_pickle=False)
    return names


def encode(cube: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Differences of a cube along band and row, as (2, band, y, x) high and low bytes."""
    differences = np.diff(np.diff(cube, axis=0, prepend=np.uint16(0)), axis=2, prepend=np.uint16(0))
    return np.stack([differences >> 8, differences & 0xFF]).astype(np.uint8)


def decode(differences: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The cube of :func:`encode`."""
    high, low = differences.astype(np.uint16)
    return np.cumsum(np.cumsum(high << 8 | low, axis=2, dtype=np.uint16), axis=0, dtype=np.uint16)
