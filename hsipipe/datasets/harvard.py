"""Harvard: 77 photographed scenes, 31 bands of a tunable filter (Chakrabarti and Zickler, 2011).

50 scenes in daylight (``CZ_hsdb``), 27 under artificial and mixed light (``CZ_hsdbi``), each 1040 x 1392 pixels
in a MATLAB file: ``ref`` is the image, radiance at the camera; ``lbl`` is 0 where an object moved during the tuning of
the filter. The masks are not applied.
"""

from pathlib import Path

from hsipipe.datasets.base import Dataset
from hsipipe.datasets.download import Archive

_INDOOR = "CZ_hsdbi"
_AT = "vision.seas.harvard.edu/hyperspec/d2x5g3"


class HarvardDataset(Dataset):
    """MATLAB files ``img*.mat`` from two archives."""

    def scene_name(self, path: Path) -> str:
        """Return the file name, with the prefix ``indoor_`` for the second archive: names occur in both archives."""
        return f"indoor_{path.stem}" if _INDOOR in path.parts[-3:-1] else path.stem


HARVARD = HarvardDataset(
    name="harvard",
    title="Harvard Real-World Hyperspectral Images",
    licence="non-commercial research",
    terms="cite the paper",
    doi="10.1109/CVPR.2011.5995660",
    bands=31,
    wavelength_nm=tuple(float(nm) for nm in range(420, 721, 10)),
    gsd_m=None,
    scale=1.0,
    layout="files img*.mat with the array ref, there or in a folder below such as CZ_hsdb; CZ_hsdbi: indoor scenes",
    archives=tuple(
        # No published digests: trust on first use.
        Archive(url=f"https://{_AT}/{name}.tgz", sha256=None, size_bytes=size)
        for name, size in (("CZ_hsdb", 5_700_000_000), (_INDOOR, 2_400_000_000))
    ),
    patterns=("img*.mat",),
    variable="ref",
)
