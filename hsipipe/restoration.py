"""The restoration tasks: what the degradation takes away, how params.yaml says so, and what a result then means.

This table alone tells the tasks apart. All other code goes by the scale and the PSF: at scale 1 the input lies on the
grid of the truth, interpolation is the identity, and the baseline is the input itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SUPER_RESOLUTION = "super-resolution"


@dataclass(frozen=True)
class Task:
    """A task: the degradation that is undone.

    Attributes:
        title: Name of the task in the field.
        enlarges: The truth has smaller pixels than the input: scale 2 or more; else it is 1.
        psf: Kinds of PSF that it may have.
        noise: Whether the input must have noise.
        back_projects: Whether a prediction may be drawn towards the input.
        model: Last part of a model's name; ``{scale}`` stands for the s.
        metrics: Definitions that replace those of :data:`hsipipe.protocols.metrics.METRICS`, by key.
    """

    title: str
    enlarges: bool
    psf: tuple[str, ...]
    noise: bool
    back_projects: bool
    model: str
    metrics: Mapping[str, str] = field(default_factory=dict)

    def contradictions(self, *, scale: int, psf: str, snr_db: float | None) -> list[str]:
        """List the keys of the group `degradation` that do not fit the task: key, got, expected.

        Args:
            scale: Ratio s.
            psf: Kind of the PSF.
            snr_db: Of the LR-HSI; None: no noise.
        """
        said = []
        if self.enlarges != (scale > 1):
            wanted = "2 or more; input and truth with pixels of one size are for task denoise or deblur"
            said.append(f"scale must be {wanted if self.enlarges else 1}, got {scale}")
        if psf not in self.psf:
            said.append(f"psf.kind must be {' or '.join(self.psf)}, got {psf}")
        if self.noise and snr_db is None:
            said.append("snr_db.lr must be a number of dB, got null; without noise the input would be the truth")
        return said


TASKS: Mapping[str, Task] = {
    SUPER_RESOLUTION: Task(
        "super-resolution",
        enlarges=True,
        psf=("bicubic", "gaussian", "average"),
        noise=False,
        back_projects=True,
        model="x{scale}",
    ),
    "denoise": Task(
        "denoising",
        enlarges=False,
        psf=("none",),
        noise=True,
        # The projection would put the noise back that was taken away.
        back_projects=False,
        model="denoise",
        metrics={
            "consistency_psnr_db": "not defined: noise alone degrades the input, and nearness to it is no merit",
        },
    ),
    "deblur": Task(
        "deblurring",
        enlarges=False,
        psf=("gaussian",),
        noise=False,
        back_projects=True,
        model="deblur",
    ),
}
"""The values of ``degradation.task``."""
