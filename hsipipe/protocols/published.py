"""The published protocols: the conventions behind each name, and the parameters that it fixes on each data set.

A published protocol is given as far as its paper and code say it. Two things are ours everywhere, because the
papers leave them out and a result is worth nothing without them: a validation region, which the papers draw
from the training patches although these overlap, and a guard between the parts. The test regions are the
published ones wherever they are published.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hsipipe.datasets.cave import SCENES as CAVE_SCENES
from hsipipe.datasets.splits import Region
from hsipipe.restoration import SUPER_RESOLUTION


@dataclass(frozen=True)
class Setup:
    """Settings that a protocol fixes on one data set.

    Attributes:
        scales: The ratios s that it is defined for.
        pins: Dotted name in params.yaml -> the only value that this protocol has.
        at: Scale -> pins that differ there; see :meth:`pins_at`.
    """

    scales: tuple[int, ...]
    pins: Mapping[str, Any]
    at: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def pins_at(self, scale: int) -> dict[str, Any]:
        """Return the pins at a scale."""
        return {**self.pins, **self.at.get(scale, {})}


@dataclass(frozen=True)
class Conventions:
    """A published protocol.

    Attributes:
        title: One line for people.
        source: Where it is from, and what had to be chosen.
        setups: Data set -> what is fixed there; empty: any data set, any parameters.
        headline: The PSNR that its papers report.
        ergas_ratio: The s of the factor 100/s in front of ERGAS; None: the scale.
        antialiasing: True if the bicubic kernel widens with the scale when it reduces.
        boundary: Values beyond the image's edge, for every PSF.
        prediction_range: Range to which predictions are clipped before they are scored.
        averaging: Rule by which the scores of all scenes become one number.
    """

    title: str
    source: str
    setups: Mapping[str, Setup] = field(default_factory=dict)
    headline: str = "mpsnr_db"
    ergas_ratio: int | None = None
    antialiasing: bool = True
    boundary: str = "symmetric, the edge pixel repeated once"
    prediction_range: tuple[float, float] = (0.0, 1.0)
    averaging: str = "each metric on whole test regions, then the mean over regions"


_BICUBIC = {"kind": "bicubic", "sigma": None, "mtf": None, "size": None, "phase": None}
_GUARD = 16


def _pins(
    psf: Mapping[str, Any], *, normalisation: str = "fixed", srf: str | None = None, **split: Any
) -> dict[str, Any]:
    regions = split.pop("regions", {"train": [], "val": [], "test": []})
    pins: dict[str, Any] = {f"degradation.psf.{key}": value for key, value in psf.items()}
    pins |= {"degradation.task": SUPER_RESOLUTION}
    pins |= {"degradation.normalisation": normalisation, "degradation.snr_db.lr": None, "degradation.snr_db.msi": None}
    if srf is not None:
        pins["degradation.srf"] = srf
    pins |= {f"split.{key}": value for key, value in split.items()}
    return pins | {f"split.regions.{part}": list(regions[part]) for part in ("train", "val", "test")}


def _listed(train: str, val: str, test: Sequence[str], *, normalisation: str) -> dict[str, Any]:
    regions = {"train": [train], "val": [val], "test": test}
    return _pins(_BICUBIC, normalisation=normalisation, by="listed", guard=_GUARD, regions=regions)


def _cave(psf: Mapping[str, Any], *, test: Sequence[str], val: Sequence[str], srf: str | None = None) -> dict[str, Any]:
    return _pins(psf, srf=srf, by="scene", test_scenes=list(test), val_scenes=list(val))


def _floored(pins: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """Shrink listed regions at their lower right, so that they have whole LR pixels."""
    floored = {key: [_floor(text, scale) for text in value] for key, value in pins.items() if "split.regions" in key}
    return {**pins, **floored}


def _floor(text: str, scale: int) -> str:
    r = Region.parse(text)
    height, width = (size - size % scale for size in r.shape)
    return str(Region(r.scene, r.y0, r.y0 + height, r.x0, r.x0 + width))


def _chikusei(normalisation: str) -> dict[str, Any]:
    # Rows 107:2410 and columns 144:2191 counted from 1; the first 512 rows are four tests, the rest trains.
    return _listed(
        "chikusei@634:2218x143:2191",
        "chikusei@2234:2410x143:2191",
        [f"chikusei@106:618x{143 + 512 * i}:{143 + 512 * (i + 1)}" for i in range(4)],
        normalisation=normalisation,
    )


def _pavia_center(normalisation: str) -> dict[str, Any]:
    # Four tests of 224 x 224 from the top of the left border; what lies to their right trains.
    return _listed(
        "pavia_center@0:968x240:712",
        "pavia_center@984:1096x240:712",
        [f"pavia_center@{224 * i}:{224 * (i + 1)}x0:224" for i in range(4)],
        normalisation=normalisation,
    )


# FWHM of an LR pixel at scale 4.
_GAUSSIAN_X4 = {"kind": "gaussian", "sigma": 1.699, "mtf": None, "size": None, "phase": None}


def _hsrdiff_pavia_university() -> dict[str, Any]:
    regions = {
        "train": ["pavia_university@0:128x144:340", "pavia_university@144:464x0:340"],
        "val": ["pavia_university@480:608x0:340"],
        "test": ["pavia_university@0:128x0:128"],
    }
    return _pins(_GAUSSIAN_X4, srf="worldview3_nir1", by="listed", guard=_GUARD, regions=regions)


def _hsrdiff_chikusei() -> dict[str, Any]:
    # The centre: rows 234:2282, columns 143:2191.
    corners = [(1258 + 512 * i, 143 + 512 * j) for i in range(2) for j in range(4)]
    regions = {
        "train": ["chikusei@234:1242x143:1663"],
        "val": ["chikusei@234:1242x1679:2191"],
        "test": [f"chikusei@{y}:{y + 512}x{x}:{x + 512}" for y, x in corners],
    }
    return _pins(_GAUSSIAN_X4, srf="worldview3", by="listed", guard=_GUARD, regions=regions)


_DRAWN: Mapping[str, Any] = {"by": "scene", "val": 0.1, "test": 0.2, "val_scenes": [], "test_scenes": [], "seed": 0}
# 3 divides neither 512 nor 1040.
_CROPPED: dict[str, Any] = {"degradation.crop_remainder": True}

DEFAULT = Conventions(
    title="this project's own: whole test scenes, one fixed scale per data set",
    source="docs/protocols.md",
)

SSPSR = Conventions(
    title="SSPSR: bicubic, divided by the maximum of the scene's crop, published test tiles",
    source=(
        "Jiang et al. 2020, DOI 10.1109/TCI.2020.2996075. Chikusei's crop and tests as in its code; Pavia Centre: four "
        "tiles of the left border, 224 pixels wide; CAVE: the paper's scenes are not listed, the last 12 of the "
        "alphabet test."
    ),
    setups={
        "chikusei": Setup((2, 4, 8), _chikusei("scene_max")),
        "pavia_center": Setup((2, 4, 8), _pavia_center("scene_max")),
        "cave": Setup((2, 4, 8), _cave(_BICUBIC, test=CAVE_SCENES[20:], val=CAVE_SCENES[18:20])),
    },
)

MCNET = Conventions(
    title="MCNet: bicubic, 80 % of the scenes train and 20 % test, PSNR of the cube",
    source=(
        "Li et al. 2020, DOI 10.3390/rs12101660. The scenes of the two parts are not listed: on CAVE the last seven of "
        "the alphabet test, on Harvard they are drawn with seed 0. Its PSNR is cube_psnr_db."
    ),
    headline="cube_psnr_db",
    setups={
        "cave": Setup((2, 3, 4), _cave(_BICUBIC, test=CAVE_SCENES[25:], val=CAVE_SCENES[22:25]) | _CROPPED),
        "harvard": Setup((2, 3, 4), _pins(_BICUBIC, **_DRAWN) | _CROPPED),
    },
)

DMGASR = Conventions(
    title="DMGASR: every region scaled by its own ground truth's extremes; for its own table only",
    source=(
        "Wang et al. 2024, arXiv 2402.17285; tiles as in SSPSR, ERGAS with the factor 100/4 at every scale as its code "
        "has it. At x3 the tiles lose what fills no LR pixel. The scaling by the ground truth is not available in use, "
        "so these numbers stand beside no others."
    ),
    ergas_ratio=4,
    setups={
        "chikusei": Setup((2, 3, 4), _chikusei("region_minmax"), at={3: _floored(_chikusei("region_minmax"), 3)}),
        "pavia_center": Setup(
            (2, 3, 4), _pavia_center("region_minmax"), at={3: _floored(_pavia_center("region_minmax"), 3)}
        ),
        "harvard": Setup((2, 3, 4), _pins(_BICUBIC, normalisation="region_minmax", **_DRAWN), at={3: _CROPPED}),
    },
)

CAVE_FUSION_X32 = Conventions(
    title="CAVE fusion x32: 20 scenes train, 12 test, Gaussian PSF, Nikon D700-like SRF",
    source=(
        "Wu et al. 2023 (HSR-Diff), arXiv 2306.12085. The width of the PSF is not given: here its FWHM is an LR pixel. "
        "The SRF is a Gaussian approximation of the Nikon D700, at angles of 5 to 11 degrees to its table; whoever has "
        "the table gives its path with the default protocol. Two of the 20 scenes choose the checkpoint."
    ),
    setups={
        "cave": Setup(
            (32,),
            _cave(
                {"kind": "gaussian", "sigma": 13.589, "mtf": None, "size": None, "phase": None},
                test=CAVE_SCENES[20:],
                val=CAVE_SCENES[18:20],
                srf="nikon_d700",
            ),
        )
    },
)

HSRDIFF_X4 = Conventions(
    title="HSR-Diff x4: fusion of airborne scenes, Gaussian PSF, WorldView-3-like SRF",
    source=(
        "Wu et al. 2023 (HSR-Diff), arXiv 2306.12085. Pavia University: the top left 128 x 128 pixels test. Chikusei: "
        "the lower half of the centre of 2048 x 2048 pixels tests in eight tiles; the paper takes 110 bands of 128, "
        "not stating which: here all. The width of the PSF is not given: here its FWHM is an LR pixel. The SRF is a "
        "Gaussian approximation of WorldView-3; its second near infrared lies beyond the bands of Pavia. That Chikusei "
        "has the same sensor is an assumption. Part of the training area chooses the checkpoint."
    ),
    setups={"pavia_university": Setup((4,), _hsrdiff_pavia_university()), "chikusei": Setup((4,), _hsrdiff_chikusei())},
)

HISR_X4 = Conventions(
    title="HISR x4: CAVE fusion, 11 scenes test, Gaussian PSF of 3 x 3 taps, Nikon D700-like SRF",
    source=(
        "The simulation that fusion papers at x4 share: a Gaussian of 3 x 3 taps and sigma 0.5, every fourth pixel "
        "kept. The scenes are not listed alike: here 21 to 31 of the alphabet test, 19 and 20 choose the checkpoint. "
        "The kept pixel is the second of each four, the SRF the Gaussian approximation of the Nikon D700."
    ),
    setups={
        "cave": Setup(
            (4,),
            _cave(
                {"kind": "gaussian", "sigma": 0.5, "mtf": None, "size": 3, "phase": 1},
                test=CAVE_SCENES[20:31],
                val=CAVE_SCENES[18:20],
                srf="nikon_d700",
            ),
        )
    },
)
