"""Groups of params.yaml on the data: scenes, split, degradation, patches."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsipipe.params.base import Fraction, Group, NonNegative, Positive
from hsipipe.restoration import TASKS

MEASURED = "measured"
"""Value of `degradation.srf`: the HR-MSI is the data set's own."""


class SyntheticParams(Group):
    """The scenes that the `synthetic` dataset makes."""

    scenes: Positive
    """Number of scenes."""
    size: Positive
    """Height and width of a scene in pixels."""
    bands: Positive
    """Number of bands, spread evenly over 400 to 1000 nm."""
    seed: NonNegative
    """The same seed gives the same bytes."""


class FolderParams(Group):
    """Metadata that the files of the user's own cubes, the dataset `folder`, lack."""

    full_scale: Annotated[float, Field(gt=0)]
    """Value in the files that becomes 1.0, such as 10000 for scaled reflectances."""
    variable: str | None
    """Name of the array in files that hold several; null: the only one."""
    wavelength_nm: list[Annotated[float, Field(gt=0)]]
    """Centre of every band of the file in nm, dropped ones included; empty: as the files say."""
    drop_bands: list[Positive]
    """Bands that are left out, counted from 1, before anything else is done."""


class DatasetParams(Group):
    """Which scenes."""

    name: str
    """A name that `hsipipe datasets` lists."""
    root: str | None
    """A local folder in the dataset's published layout; null downloads it."""
    folder: FolderParams
    synthetic: SyntheticParams


class RegionsParams(Group):
    """Regions by their coordinates, as ``chikusei@0:512x128:640``: rows and columns in HR pixels, ends excluded."""

    train: list[str]
    """Regions that train."""
    val: list[str]
    """Regions that choose the checkpoint."""
    test: list[str]
    """Regions that only the evaluation sees."""


class SplitParams(Group):
    """Which part of the data is for what. The three parts are disjoint in space."""

    by: Literal["auto", "scene", "region", "listed"]
    """Whole scenes, regions of each scene, or the regions listed; auto: scenes where there are at least three."""
    regions: RegionsParams
    """The regions of `listed`; empty lists otherwise."""
    val: Fraction
    """Share of the scenes (or of a scene's area) for choosing checkpoints."""
    test: Fraction
    """Share of the scenes (or of a scene's area) that only the evaluation sees."""
    test_scenes: list[str]
    """Names of the test scenes; empty: drawn by `seed`."""
    val_scenes: list[str]
    """Names of the validation scenes; empty: drawn by `seed`."""
    guard: NonNegative
    """HR pixels left out between two regions of one scene."""
    seed: NonNegative
    """Draws the scenes of each part."""

    @model_validator(mode="after")
    def _something_is_left_for_training(self) -> "SplitParams":
        if self.val + self.test >= 1:
            raise ValueError(f"val ({self.val}) and test ({self.test}) together must be less than 1")
        return self


class PsfParams(Group):
    """Point spread function of the LR sensor, applied on the grid of the HR pixels."""

    kind: Literal["bicubic", "gaussian", "average", "none"]
    """MATLAB's imresize, a Gaussian, the mean of the pixels under an LR pixel; or none, to denoise."""
    sigma: Annotated[float, Field(gt=0)] | None
    """Standard deviation of the Gaussian in HR pixels; null: from `mtf`."""
    mtf: Fraction | None
    """Modulation transfer of the Gaussian at the Nyquist frequency of the LR grid; null: from `sigma`."""
    size: Positive | None
    """Taps of the Gaussian along one axis; null: out to four standard deviations."""
    phase: NonNegative | None
    """HR pixel inside an LR pixel on which the Gaussian sits; null: the centre of the LR pixel."""


class SnrParams(Group):
    """Signal-to-noise ratio of each sensor in dB; null: no noise."""

    lr: float | None
    """Of the LR-HSI, in each band."""
    msi: float | None
    """Of the HR-MSI, in each band."""


class DegradationParams(Group):
    """Simulation of LR-HSI and HR-MSI from the HR-HSI."""

    task: Literal["super-resolution", "denoise", "deblur"]
    """Degradation to undo: larger pixels; noise alone; a Gaussian blur (and its noise) at pixels of the same size."""
    scale: Positive
    """Ratio of the pixel sizes, s; 1 to denoise and to deblur."""
    crop_remainder: bool
    """Cut rows and columns that do not fill an LR pixel; false: such a scene is an error."""
    normalisation: Literal["fixed", "scene_max", "region_minmax"]
    """By the data set's full scale alone; or then by the maximum of what is used of a scene; or each region by its
    own extremes."""
    psf: PsfParams
    srf: str | None
    """Sensor whose spectral response makes the HR-MSI: a known name, the path of a table, `measured` for the
    data set's own MSI; null: none is made."""
    snr_db: SnrParams
    seed: NonNegative
    """Draws the noise."""

    @model_validator(mode="after")
    def _degradation_is_that_of_the_task(self) -> "DegradationParams":
        said = TASKS[self.task].contradictions(scale=self.scale, psf=self.psf.kind, snr_db=self.snr_db.lr)
        if said:
            raise ValueError(f"with task {self.task}, {', and '.join(said)}")
        return self


class PatchesParams(Group):
    """The patches that training reads."""

    size: Positive
    """Height and width of a patch in HR pixels; a multiple of the scale."""
    stride: Positive
    """Distance of neighbouring patches in HR pixels; a multiple of the scale, at most the size."""
    shard: Positive
    """Patches in one shard (one file) of the store."""
    least_valid: Annotated[float, Field(gt=0, le=1)]
    """Share of the pixels of a patch that must have data; patches with less are skipped."""

    @model_validator(mode="after")
    def _patches_leave_no_gap(self) -> "PatchesParams":
        if self.stride > self.size:
            raise ValueError(f"stride ({self.stride}) must not exceed size ({self.size}): pixels would be left out")
        return self
