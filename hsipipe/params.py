"""The typed form of params.yaml: one class per group, every field explained, nothing unknown allowed."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from hsipipe.errors import MissingInputError, ParamsError
from hsipipe.restoration import TASKS

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Sampler = Literal["ddim", "ancestral", "dpmpp_2m"]


def _count_or_all(value: Any) -> Any:
    # One message: a union would complain once for each of its members.
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError(f"expected a positive number or the word all, got {value!r}")


CountOrAll = Annotated[int | Literal["all"], PlainValidator(_count_or_all)]


class Group(BaseModel):
    """A group of params.yaml: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    """What the user's own cubes, the dataset `folder`, do not say of themselves."""

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
    """How LR-HSI and HR-MSI are made out of the HR-HSI."""

    task: Literal["super-resolution", "denoise", "deblur"]
    """What is undone: larger pixels; noise alone; a Gaussian blur (and its noise) at pixels of the same size."""
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

    @model_validator(mode="after")
    def _patches_leave_no_gap(self) -> "PatchesParams":
        if self.stride > self.size:
            raise ValueError(f"stride ({self.stride}) must not exceed size ({self.size}): pixels would be left out")
        return self


class OptimizerParams(Group):
    """Adam and its schedule, for one training."""

    steps: Positive
    """Optimiser steps."""
    batch: Positive
    """Patches in a batch (each of them brings all its groups)."""
    lr: Annotated[float, Field(gt=0)]
    """Peak learning rate of Adam."""
    warmup: NonNegative
    """Steps of linear warm-up; then a cosine to zero."""
    ema: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the exponential moving average of the weights; 0 switches it off."""
    validate_every: Positive
    """Steps between two validations; the best one is the checkpoint."""
    patience: NonNegative
    """Validations without a new best after which training stops; 0: never."""
    save_every: Positive
    """Steps between two resume points; they survive a kill."""


class LossParams(Group):
    """Weights of the terms of a loss between cubes."""

    l1: Annotated[float, Field(ge=0)]
    """Mean absolute error."""
    sam: Annotated[float, Field(ge=0)]
    """Spectral angle over pi."""
    gradient: Annotated[float, Field(ge=0)]
    """L1 of the finite differences along x, y and band."""


class DiffusionLossParams(LossParams):
    """Weights of the terms of the diffusion's loss.

    Those between cubes compare what the estimate of x_0 and the true x_0 decode to.
    """

    target: Annotated[float, Field(ge=0)]
    """Error of what the network predicts, in latent space: the loss of the papers."""
    norm: Literal["l1", "l2", "huber"]
    """Mean absolute or mean squared error, or Huber's loss: squared up to half of a standard deviation, absolute
    beyond. Where most of x_0 is zero, the absolute error alone holds a network at zero for long."""


class GaeLossParams(LossParams):
    """Weights of the terms of the GAE's loss (arXiv 2402.17285, eq. 5)."""

    perceptual: Annotated[float, Field(ge=0)]
    """VGG19 features; needs the extra `perceptual`."""


class GaeParams(Group):
    """The group autoencoder (arXiv 2402.17285, section 3.1)."""

    encoder: Literal["network", "identity"]
    """`identity`: the bands of a group are its latent, so that the diffusion works on pixels; nothing is trained."""
    n_subs: CountOrAll
    """Bands in a group, or nodes of a window; all: one group of all bands, however many there are."""
    n_ovls: NonNegative
    """Bands that a group shares with the next, 0 where there is one group of all bands; of a window, the share
    n_ovls / n_subs of its width."""
    window_nm: Annotated[float, Field(gt=0)] | None
    """Groups are windows of this width in nm, each resampled to `n_subs` nodes, so that other sensors can be served;
    null: groups of bands by their number."""
    latent_channels: CountOrAll
    """Latent channels of a group; all: as many as it has bands."""
    width: Positive
    """Features of encoder and local decoder."""
    blocks: Positive
    """Spatial-spectral blocks of encoder and local decoder."""
    global_decoder: bool
    """Refine the whole cube after the groups are merged."""
    global_width: Positive
    """Features of the global decoder."""
    global_blocks: Positive
    """Spatial-spectral blocks of the global decoder."""
    linear_path: bool
    """Add a linear path that starts at the principal components of the groups (not in the paper)."""
    loss: GaeLossParams
    optimizer: OptimizerParams
    seed: NonNegative
    """Initial weights and order of the patches."""

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> "GaeParams":
        if self.n_subs == "all":
            if self.n_ovls:
                raise ValueError(f"n_ovls ({self.n_ovls}) must be 0 with n_subs: all, a single group has no neighbour")
        elif self.n_ovls >= self.n_subs:
            raise ValueError(f"n_ovls ({self.n_ovls}) must be smaller than n_subs ({self.n_subs})")
        return self

    @model_validator(mode="after")
    def _windows_have_nodes(self) -> "GaeParams":
        if self.window_nm is not None and (self.n_subs == "all" or self.encoder == "identity"):
            raise ValueError(
                f"window_nm ({self.window_nm:g}) resamples bands to nodes: it needs a number for n_subs "
                f"(got {self.n_subs}) and encoder: network (got {self.encoder})"
            )
        return self

    @model_validator(mode="after")
    def _windows_know_no_band_count(self) -> "GaeParams":
        if self.window_nm is not None and self.global_decoder:
            raise ValueError(
                f"window_nm ({self.window_nm:g}) needs global_decoder: false, because the global decoder is made for "
                "one number of bands"
            )
        return self

    @model_validator(mode="after")
    def _linear_path_has_enough_components(self) -> "GaeParams":
        channels, bands = self.latent_channels, self.n_subs
        if self.linear_path and channels != "all" and bands != "all" and channels > bands:
            raise ValueError(f"latent_channels ({channels}) must not exceed n_subs ({bands}) with linear_path")
        return self

    @model_validator(mode="after")
    def _identity_changes_nothing(self) -> "GaeParams":
        if self.encoder != "identity":
            return self
        if self.latent_channels not in (self.n_subs, "all"):
            raise ValueError(
                f"encoder: identity keeps every band of a group, so latent_channels ({self.latent_channels}) must be "
                f"n_subs ({self.n_subs}) or all"
            )
        if self.global_decoder or self.linear_path:
            raise ValueError("encoder: identity has no decoder: set global_decoder and linear_path to false")
        return self


class UnetParams(Group):
    """The denoising network: SR3's U-Net, optionally on unshuffled pixels."""

    unshuffle: Positive
    """Pixels folded into channels before the first convolution (1: none, as in the paper)."""
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    """Channels of the first level, an even number."""
    multipliers: Annotated[list[Positive], Field(min_length=1)]
    """Channels of each level as multiples of the width."""
    blocks: Positive
    """Residual blocks in each level."""
    attention: list[Positive]
    """Feature map sizes, at the training patch, that get self-attention."""
    norm: Literal["group", "none"]
    """GroupNorm as in SR3, or none: features then do not depend on what else is in the tile."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    """Dropout inside the residual blocks."""


class DiffusionParams(Group):
    """The latent diffusion and its training."""

    steps: Annotated[int, Field(ge=1000)]
    """T, the noise levels in training."""
    schedule: Literal["linear", "cosine"]
    """How gamma falls from 1 to 0."""
    space: Literal["residual", "latent"]
    """What is diffused: HR minus LR latent (starts at the LR latent), or the HR latent itself."""
    target: Literal["x0", "epsilon", "v"]
    """What the network predicts."""
    scale_input: bool
    """Multiply the noisy image by sqrt(gamma), its share of signal, before the network sees it."""
    terminal_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the training images at the last noise level, where sampling starts; few steps need it."""
    validation_sampler: Sampler
    """How a checkpoint is chosen; `sampling` does not matter for that."""
    validation_steps: Positive
    """Network evaluations per image when a checkpoint is chosen."""
    unet: UnetParams
    loss: DiffusionLossParams
    optimizer: OptimizerParams
    seed: NonNegative
    """Initial weights, order of the patches, noise."""

    @model_validator(mode="after")
    def _noise_can_be_predicted(self) -> "DiffusionParams":
        if self.target == "epsilon" and (self.scale_input or self.schedule == "cosine"):
            raise ValueError(
                "target epsilon needs scale_input: false and schedule: linear; from pure noise x_0 follows by a "
                "division by sqrt(gamma_T), which the cosine schedule makes almost zero"
            )
        return self


class ControlParams(Group):
    """The control pca-residual, a plain residual network in the space of principal components."""

    components: Positive
    """Principal components of the training spectra; at most the bands are taken."""
    width: Positive
    """Features of its convolutions, all at LR resolution."""
    blocks: Positive
    """Residual blocks of two convolutions."""
    loss: LossParams
    optimizer: OptimizerParams
    seed: NonNegative
    """Initial weights and order of the patches."""


class SamplingParams(Group):
    """How a prediction is made; changes here need no new training."""

    sampler: Sampler
    """Deterministic; Algorithm 1 of the paper; DPM-Solver++(2M), deterministic and of second order from 3 steps on."""
    steps: Positive
    """Network evaluations per sample."""
    samples: Positive
    """Samples from independent noise, of which a prediction is the mean; their spread is its uncertainty."""
    residual_decode: bool
    """Add the decoded change to the interpolated input, so that the autoencoder's loss cancels."""
    consistency: NonNegative
    """Back-projection iterations towards the LR input; 0 switches it off."""
    tile: Positive
    """LR pixels of a tile's edge in whole-scene prediction."""
    overlap: NonNegative
    """LR pixels of context on each side of a tile; neighbouring tiles share twice as many."""
    seed: NonNegative
    """Noise of the sampler."""

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> "SamplingParams":
        if self.overlap * 2 >= self.tile:
            raise ValueError(f"overlap ({self.overlap}) must be less than half of tile ({self.tile})")
        return self


class RegistryParams(Group):
    """What may be shipped."""

    candidates: Annotated[list[Literal["dmgasr", "regression", "pca-residual"]], Field(min_length=1)]
    """The one with the highest MPSNR on the validation scenes is registered; of equal ones the first."""


class HardwareParams(Group):
    """Where training runs."""

    accelerator: Literal["auto", "cpu", "cuda"]
    """auto takes the GPU if there is one."""
    precision: Literal["32-true", "bf16-mixed"]
    """Lightning Fabric's name of the precision."""
    compile: bool
    """Compile the network for its training steps (torch.compile): minutes once, faster steps after."""
    devices: Positive
    """Processes that share each batch of a training, one a GPU; `batch` must be a multiple."""


class Params(Group):
    """Everything that params.yaml says."""

    dataset: DatasetParams
    split: SplitParams
    degradation: DegradationParams
    patches: PatchesParams
    gae: GaeParams
    diffusion: DiffusionParams
    control: ControlParams
    sampling: SamplingParams
    registry: RegistryParams
    hardware: HardwareParams
    protocol: str
    """A name of `hsipipe.protocols`."""

    @model_validator(mode="after")
    def _truth_stays_out_of_the_input(self) -> "Params":
        if self.degradation.normalisation == "region_minmax" and self.protocol != "dmgasr":
            raise ValueError(
                "degradation.normalisation region_minmax scales each test region by its own ground truth, which nobody "
                f"has in use; it is for protocol dmgasr alone, not for {self.protocol}: set it to fixed"
            )
        return self

    @model_validator(mode="after")
    def _noise_is_not_put_back(self) -> "Params":
        task = self.degradation.task
        if self.sampling.consistency and not TASKS[task].back_projects:
            raise ValueError(
                f"sampling.consistency ({self.sampling.consistency}) must be 0 with degradation.task {task}: "
                "back-projection draws the prediction to the input, noise included"
            )
        return self

    @model_validator(mode="after")
    def _patches_fit_the_scale(self) -> "Params":
        for field in ("size", "stride"):
            value = getattr(self.patches, field)
            if value % self.degradation.scale:
                raise ValueError(
                    f"patches.{field} ({value}) must be a multiple of degradation.scale ({self.degradation.scale})"
                )
        return self


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        MissingInputError: There is no such file.
        ParamsError: It is no YAML, or a key is unknown, missing or does not fit; one line a problem.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"No {path.name} in {path.parent}; run this in the project's folder.") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    return parse_params(tree, source=path.name)


def parse_params(tree: Any, *, source: str = "params") -> Params:
    """Check a tree of plain values against :class:`Params`.

    Raises:
        ParamsError: See :func:`load_params`.
    """
    if not isinstance(tree, Mapping):
        raise ParamsError(f"{source} must hold groups of keys, got {type(tree).__name__}.")
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(_explain(dict(entry)) for entry in error.errors(include_url=False))
        raise ParamsError(f"{source}: {problems}.") from error


def _explain(entry: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in entry["loc"]) or "(whole file)"
    if entry["type"] == "extra_forbidden":
        siblings = _fields_beside(entry["loc"])
        close = get_close_matches(str(entry["loc"][-1]), siblings, n=1)
        hint = f", did you mean {close[0]!r}?" if close else f"; known here: {', '.join(siblings)}"
        return f"unknown key {where!r}{hint}"
    if entry["type"] == "missing":
        return f"missing key {where!r}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where}: {message}, got {entry['input']!r}"


def _fields_beside(loc: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Params
    for part in loc[:-1]:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(model.model_fields)
