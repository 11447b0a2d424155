"""The samples of a scene: which are wanted, and one file of them with an axis ``sample``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hsipipe.errors import ParamsError
from hsipipe.formats.labelled import to_dataset
from hsipipe.formats.netcdf4_file import write_netcdf4
from hsipipe.formats.zarr_store import write_zarr
from hsipipe.inference.inputs import Inputs
from hsipipe.inference.scene import draw_scene
from hsipipe.inference.statistics import Statistic
from hsipipe.memory import check_memory
from hsipipe.methods.super_resolver import SampleResolver
from hsipipe.storage.publish import atomic_file, atomic_folder
from hsipipe.storage.space import check_space

SAMPLE = "sample"


@dataclass(frozen=True)
class Samples:
    """The samples that a user wants.

    Attributes:
        count: Their number, at least 2; None: no samples.
        quantiles: Probabilities of the quantiles to write.
        keep: Write the samples themselves, too.
    """

    count: int | None = None
    quantiles: Sequence[float] = ()
    keep: bool = False

    def statistics(self) -> list[Statistic]:
        """Return the statistics to write, the prediction first.

        Raises:
            ParamsError: Too few samples, no number of samples for what needs one, or no probability.
        """
        if self.count is None:
            if self.quantiles or self.keep:
                raise ParamsError("--quantiles and --keep-samples need samples; give their number with --samples K.")
            return [Statistic("mean")]
        if self.count < 2:
            raise ParamsError(f"--samples must be at least 2, got {self.count}: one sample has no spread.")
        return [Statistic("mean"), Statistic("std"), *(Statistic.quantile(value) for value in self.quantiles)]

    def paths(self, target: Path) -> list[Path]:
        """Return the files to write: ``high.nc``, ``high_std.nc``, ``high_q05.nc``; the samples last, if kept."""
        others = [target.with_name(f"{target.stem}_{it.label}{target.suffix}") for it in self.statistics()[1:]]
        if len(set(others)) < len(others):
            raise ParamsError(f"Two quantiles have the same file name: {', '.join(map(str, self.quantiles))}.")
        kept = target.with_name(f"{target.stem}_samples{'.zarr' if target.suffix == '.zarr' else '.nc'}")
        return [target, *others, *([kept] if self.keep else [])]


NO_SAMPLES = Samples()


def check_room(given: Inputs, samples: Samples, path: Path) -> None:
    """Check, before the work, that all samples of a scene fit into the memory and on the disk.

    Raises:
        ParamsError: The model draws no samples.
        DataError: They do not fit.
    """
    _sampler(given)
    count = samples.count or 0
    nbytes = count * given.lr.nbytes * given.model.scale**2
    check_space(path, nbytes, files=1)
    check_memory(2 * nbytes, what=f"{count} samples of this scene", advice="keep fewer samples, or cut the scene")


def save_samples(given: Inputs, samples: Samples, path: Path, *, tile: int, overlap: int) -> None:
    """Draw the samples of a scene and write them, in the units of the input.

    Args:
        given: The inputs of the prediction.
        samples: How many.
        path: NetCDF file or Zarr store; it appears complete or not at all.
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile.

    Raises:
        ParamsError: The model draws no samples.
    """
    count = samples.count or 0
    drawn = draw_scene(_sampler(given), given.lr, count=count, tile=tile, overlap=overlap, msi=given.msi)
    dataset, name = to_dataset(given.wrap(drawn[0]))
    cube = dataset[name]
    values = np.stack([given.wrap(sample).transpose(*cube.dims).to_numpy() for sample in drawn])
    dataset[name] = ((SAMPLE, *cube.dims), values, cube.attrs)
    dataset = dataset.assign_coords({SAMPLE: np.arange(count)})
    if path.suffix == ".zarr":
        with atomic_folder(path) as temporary:
            write_zarr(dataset, temporary)
    else:
        with atomic_file(path) as temporary:
            write_netcdf4(dataset, temporary)


def _sampler(given: Inputs) -> SampleResolver:
    if not (isinstance(given.model, SampleResolver) and given.model.varies):
        raise ParamsError(f"{given.model.name} gives the same prediction every time; it has no samples to keep.")
    return given.model
