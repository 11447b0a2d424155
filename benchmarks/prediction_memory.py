"""Measure the memory of `hsipipe predict` from file to file, and compare it with the estimate that admits a prediction.

    python benchmarks/prediction_memory.py

Each case runs in a process of its own. Its peak is that of the resident memory beyond the start, sampled every 2 ms.
The model is bicubic interpolation, so that the memory of a network does not count.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from record import Watch, arguments, environment, row, show, write_record

BANDS, EDGE, MSI_BANDS = 64, 256, 4
CASES = [  # input, output, scale, samples, with an HR-MSI
    (".tif", ".nc", 4, 1, False),
    (".tif", ".tif", 4, 1, False),
    (".tif", ".zarr", 4, 1, False),
    (".tif", ".npy", 4, 1, False),
    (".npz", ".nc", 4, 1, False),
    (".nc", ".nc", 2, 1, False),
    (".nc", ".nc", 1, 1, False),
    (".tif", ".nc", 4, 2, False),
    (".zarr", ".zarr", 4, 2, False),
    (".tif", ".nc", 4, 1, True),
]


def main():
    parser = arguments(__doc__, result="prediction_memory")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case is not None:
        print(json.dumps(measure(*CASES[options.case])))
        return
    rows = []
    for number, (source, target, scale, samples, msi) in enumerate(CASES):
        command = [sys.executable, __file__, "--case", str(number)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peak, estimate = json.loads(said.splitlines()[-1])
        name = f"{source} to {target}, x{scale}, {samples} sample(s){', HR-MSI' if msi else ''}"
        rows.append(row(f"{name}: peak", peak / 1e6, "MB"))
        share = peak / estimate
        rows.append(row(f"{name}: part of the estimate", share, "", target="<= 1", met=share <= 1))
    show(rows)
    write_record(options.json, {"environment": environment("numpy", "xarray", "zarr", "rasterio"), "rows": rows})


def measure(source, target, scale, samples, with_msi):
    """Return the peak of a prediction and its estimate in bytes."""
    import numpy as np
    import psutil

    import hsipipe.commands.predict_file as command
    from hsipipe.commands.sample_file import Samples
    from hsipipe.inference.needs import prediction_bytes
    from hsipipe.inference.pair import MsiFile

    resolver = _model(scale, MSI_BANDS if with_msi else 0)
    command._load = lambda model: resolver
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        lr, msi = (BANDS, EDGE, EDGE), (MSI_BANDS, EDGE * scale, EDGE * scale)

        def predict(edge):
            _write(np.random.default_rng(0).random((BANDS, edge, edge), dtype=np.float32), place / f"lr{source}")
            fine = None
            if with_msi:
                shape = (MSI_BANDS, edge * scale, edge * scale)
                _write(np.random.default_rng(0).random(shape, dtype=np.float32), place / "msi.tif")
                fine = MsiFile(place / "msi.tif")
            with Watch(psutil.Process()) as watch:
                command.predict_file(
                    place / f"lr{source}", place / f"sr{target}", model="", tile=64, overlap=8, full_scale=2.0,
                    samples=Samples(samples if samples > 1 else None), msi=fine,
                )  # fmt: skip
            return watch.peak

        predict(32)  # imports and caches
        peak = predict(EDGE)
        return peak, prediction_bytes(lr, scale, images=min(samples, 2), msi=msi if with_msi else (0,))


def _write(values, path):
    import numpy as np
    import xarray as xr

    from hsipipe.formats import save_cube

    if path.suffix == ".npz":
        np.savez(path, cube=values)
    else:
        save_cube(xr.DataArray(values, dims=("band", "y", "x")), path)


def _model(scale, msi_bands):
    from hsipipe.methods.bicubic import Bicubic

    @dataclass(frozen=True)
    class Model(Bicubic):
        """Bicubic interpolation with samples, and an HR-MSI that it does not use."""

        varies = True
        sample_nfe = 1
        averages = True
        interval_scale = 1.0

        @property
        def msi_bands(self):
            return msi_bands

        def predict(self, lr, *, msi=None, origin=(0, 0)):
            return super().predict(lr)

        def draw(self, lr, *, count, msi=None, origin=(0, 0)):
            return iter([self.predict(lr)] * count)

        def predict_with_spread(self, lr, *, count, msi=None, origin=(0, 0)):
            return self.predict(lr), self.predict(lr)

    return Model(scale)


if __name__ == "__main__":
    main()
