"""Train and test the models on CAVE scenes on one GPU without a network, in pieces of a few minutes.

    python benchmarks/gpu/cave.py --pack PACKED --data CAVE            # once, where the scenes are
    python benchmarks/gpu/cave.py --data PACKED --work DIR --budget-minutes 9

The same command again goes on where the last piece stopped: it ends with 0 when all is done, with 75 when there is
more to do. What is trained: the autoencoder, the diffusion and the regression of each model, and pca-residual. A
diffusion takes --train-seconds of optimiser steps, its regression the same, its autoencoder half of that; pca-residual
has the time of autoencoder and diffusion together. That is far less than the paper's training, and the
figures are those of a short training. Changed values of a preset are listed in the record.

It imports the library alone, no prefect, dvc or mlflow. Where torch is installed with the usual scientific packages
(lightning, numpy, scipy, xarray, h5py, pillow, scikit-image, tifffile, safetensors, pyyaml, rich, matplotlib, psutil),
these are missing as a rule and travel as wheels, 50 MB of which rasterio is 36: affine, annotated-types, dask, donfig,
google-crc32c, numcodecs, platformdirs, pooch, pydantic, pydantic-core, rasterio, typing-inspection, zarr. README.md
beside this file has the commands.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("dmgasr-fast", "dmgasr-paper")
MORE_TO_DO = 75
NOTHING = "Nothing was finished or saved in this piece: give it more with --budget-minutes."


def main() -> int:
    options = parse()
    if options.pack:
        from packing import pack

        sizes = pack(options.data, options.pack, scenes=options.scenes, edge=options.edge)
        for name, size in sizes.items():
            print(f"{size / 1e6:6.1f} MB  {options.pack / name}")
        print(f"{sum(sizes.values()) / 1e6:6.1f} MB  in all")
        return 0
    if options.child:
        from piece import run_piece

        return run_piece(options)
    started = time.time()
    deadline = started + 60 * options.budget_minutes
    # A process of its own: whatever it is doing then, it ends at the deadline, and resume points are whole or absent.
    command, earlier = [sys.executable, __file__, *sys.argv[1:], "--child", str(deadline)], pieces(options.work)
    try:
        return subprocess.run(command, timeout=deadline - started, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"Ended at {options.budget_minutes:g} minutes in the middle of something.")
    if not any(piece["did"] or piece["saves"] for piece in pieces(options.work)[len(earlier) :]):
        print(NOTHING)
        return 1
    print("Run the same command again.")
    return MORE_TO_DO


def pieces(work: Path) -> list[dict]:
    """The pieces so far, of the record."""
    record = work / "record.json"
    return json.loads(record.read_text())["pieces"] if record.is_file() else []


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="packed scenes, or a folder in CAVE's own layout")
    parser.add_argument("--work", type=Path, help="folder that outlives the pieces")
    parser.add_argument("--budget-minutes", type=float, default=9.0, help="of this piece, hard")
    parser.add_argument("--reserve-seconds", type=float, help="of the budget, for the tests (default: a fifth)")
    parser.add_argument("--train-seconds", type=float, default=60.0, help="optimiser steps of a diffusion, in all")
    parser.add_argument("--only", choices=MODELS, help="this model and the controls alone")
    parser.add_argument(
        "--tiny", action="store_true", help="small networks, to try the script; its figures mean nothing"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="on a GPU")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/results/gpu*.json)")
    parser.add_argument("--commit", help="of this checkout, where there is no git")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="write the scenes of --data there, and end")
    parser.add_argument("--scenes", type=int, help="with --pack: so many of them")
    parser.add_argument("--edge", type=int, help="with --pack: the corner of so many rows and columns alone")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.work is None and options.pack is None:
        parser.error("--work is missing (or --pack, to pack the scenes)")
    return options


if __name__ == "__main__":
    sys.exit(main())
