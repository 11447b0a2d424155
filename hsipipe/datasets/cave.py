"""CAVE: 32 laboratory scenes, 31 bands (Yasuma et al., 2010, DOI 10.1109/TIP.2010.2046811)."""

from collections.abc import Mapping
from pathlib import Path

from hsipipe.datasets.base import Dataset
from hsipipe.datasets.download import Archive
from hsipipe.formats.cave_png import BANDS, WAVELENGTH_NM, find_bands

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

    def files(self, root: Path) -> Mapping[str, Mapping[str, Path]]:
        """Every ``<scene>_ms`` folder in `root`, whatever the number and the names."""
        return {folder.name.removesuffix("_ms"): _files(folder) for folder in _scene_folders(root)}

    def location(self, scene: str) -> str:
        """The folder of the scene."""
        return f"{scene}_ms"


def _scene_folders(root: Path) -> list[Path]:
    # The dot leaves out the "._x_ms" that macOS adds to archives.
    folders = [path for path in root.glob("*_ms") if path.is_dir() and not path.name.startswith(".")]
    return sorted(folder for folder in folders if folder.name != "_ms")


def _files(folder: Path) -> dict[str, Path]:
    bands = list(find_bands(folder).values())
    pictures = sorted(bands[0].parent.glob("[!.]*_RGB.bmp"))
    return {f"{folder.name}/{path.name}": path for path in [*bands, *pictures]}


CAVE = CaveDataset(
    name="cave",
    title="CAVE Multispectral Image Database",
    licence="for research, cite the paper; see https://www.cs.columbia.edu/CAVE/databases/multispectral/",
    doi="10.1109/TIP.2010.2046811",
    bands=BANDS,
    wavelength_nm=WAVELENGTH_NM,
    gsd_m=None,
    scale=1.0,  # the reader divides by the full scale of the PNG, which is not the same in every scene
    layout=(
        "folders <scene>_ms with <scene>_ms_01.png to <scene>_ms_31.png in them, or in a folder of the same name inside"
    ),
    archives=(
        Archive(
            url="https://www.cs.columbia.edu/CAVE/databases/multispectral/zip/complete_ms_data.zip",
            # The publisher gives no digest: it is taken from the first download and enforced from then on.
            sha256=None,
            size_bytes=405_000_000,
        ),
    ),
)
