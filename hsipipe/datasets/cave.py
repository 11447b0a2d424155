"""CAVE: 32 laboratory scenes, 31 bands (Yasuma et al., 2010, DOI 10.1109/TIP.2010.2046811)."""

import logging
from collections.abc import Mapping
from pathlib import Path

from hsipipe.datasets.base import Dataset
from hsipipe.datasets.download import Archive
from hsipipe.errors import DataError
from hsipipe.formats.cave_png import BANDS, WAVELENGTH_NM, find_bands

logger = logging.getLogger(__name__)

SCENES = (
    "balloons",
    "beads",
    "cd",
    "chart_and_stuffed_toy",
    "clay",
    "cloth",
    "egyptian_statue",
    "face",
    "fake_and_real_beers",
    "fake_and_real_food",
    "fake_and_real_lemon_slices",
    "fake_and_real_lemons",
    "fake_and_real_peppers",
    "fake_and_real_strawberries",
    "fake_and_real_sushi",
    "fake_and_real_tomatoes",
    "feathers",
    "flowers",
    "glass_tiles",
    "hairs",
    "jelly_beans",
    "oil_painting",
    "paints",
    "photo_and_face",
    "pompoms",
    "real_and_fake_apples",
    "real_and_fake_peppers",
    "sponges",
    "stuffed_toys",
    "superballs",
    "thread_spools",
    "watercolors",
)


class CaveDataset(Dataset):
    """Folders ``<scene>_ms`` of 31 PNGs, flat or nested once as in the published archive."""

    def find(self, root: Path) -> Mapping[str, Path]:
        """Find every ``<scene>_ms`` folder in `root` or one level below, or take `root` as the only scene.

        Raises:
            DataError: Two folders have the same name.
        """
        if band := next(root.glob("[!.]*_ms_[0-9][0-9].png"), None):
            return {band.name[: -len("_ms_01.png")]: root}
        found: dict[str, Path] = {}
        for folder in _scene_folders(root, "*_ms") or _scene_folders(root, "*/*_ms"):
            scene = folder.name.removesuffix("_ms")
            if scene in found:
                raise DataError(f"Scene {scene!r} is in {found[scene]} and in {folder}; keep one of them.")
            found[scene] = folder
        return found

    def location(self, scene: str, path: Path) -> str:
        """Return the folder of the scene."""
        return f"{scene}_ms"

    def files(self, scene: str, path: Path) -> Mapping[str, Path]:
        """List the bands and, if present, the RGB picture."""
        bands = list(find_bands(path).values())
        pictures = sorted(bands[0].parent.glob("[!.]*_RGB.bmp"))
        return {f"{self.location(scene, path)}/{file.name}": file for file in [*bands, *pictures]}


def _scene_folders(root: Path, pattern: str) -> list[Path]:
    folders = []
    for folder in sorted(root.glob(pattern)):
        # macOS adds "._x_ms" and "__MACOSX/x_ms" to archives.
        is_junk = any(part.startswith((".", "__MACOSX")) for part in folder.relative_to(root).parts)
        if is_junk or not folder.is_dir() or folder.name == "_ms":
            continue
        if any(folder.glob("[!.]*.png")) or any(folder.glob("*/[!.]*.png")):
            folders.append(folder)
        else:
            logger.warning("skipped %s: it holds no PNG", folder)
    return folders


CAVE = CaveDataset(
    name="cave",
    title="CAVE Multispectral Image Database",
    licence="research",
    terms="cite the paper; see https://www.cs.columbia.edu/CAVE/databases/multispectral/",
    doi="10.1109/TIP.2010.2046811",
    bands=BANDS,
    wavelength_nm=WAVELENGTH_NM,
    gsd_m=None,
    scale=1.0,  # the reader divides by the full scale of the PNG, which differs between scenes
    layout=(
        "folders <scene>_ms with <scene>_ms_01.png to <scene>_ms_31.png in them, or in a folder of the same name inside"
    ),
    archives=(
        Archive(
            url="https://www.cs.columbia.edu/CAVE/databases/multispectral/zip/complete_ms_data.zip",
            # No published digest: trust on first use.
            sha256=None,
            size_bytes=405_000_000,
            mirrors=("https://www1.cs.columbia.edu/CAVE/databases/multispectral/zip/complete_ms_data.zip",),
        ),
    ),
)
