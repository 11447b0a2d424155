"""Measure fusion-fast before any training, part by part: docs/adr/0013-fusion-from-a-consistent-start.md.

    python benchmarks/fusion_start.py CAVE_FOLDER SRF_TABLE --json benchmarks/results/fusion_start.json

All scenes of the folder at each scale, with a Gaussian PSF of sigma = s / 2.35482 HR pixels: interpolation;
interpolation projected onto both observations; the guided interpolation; and the start, which is the guided
interpolation projected onto both observations.
"""

from pathlib import Path

from record import arguments, environment, write_record  # isort: skip

import numpy as np
import torch

import hsipipe
from hsipipe.datasets.cave import CAVE
from hsipipe.degradation.psf import Psf
from hsipipe.degradation.srf import apply_response, response
from hsipipe.diffusion.consistency import PairObservation, Resampler, detail_moments, disagreement, spectral_gain
from hsipipe.evaluation.metrics import band_mse, mpsnr_db, sam_deg
from hsipipe.methods.fusion.guided_filter import guided_upsample
from hsipipe.methods.fusion.subspace import estimate_subspace

COMPONENTS, RADIUS = 12, 1


def parts(lr: np.ndarray, msi: np.ndarray, matrix: np.ndarray, psf: Psf, scale: int) -> dict[str, torch.Tensor]:
    low, fine, wide = (torch.from_numpy(np.asarray(a, np.float32)) for a in (lr[None], msi[None], matrix))
    subspace = estimate_subspace(low, COMPONENTS)
    resampler = Resampler(*fine.shape[2:], scale=scale, like=low, psf=psf)
    noise = disagreement(low, fine, resampler=resampler, response=wide)
    gain = spectral_gain(wide, detail_moments(low), noise)
    pair = PairObservation(low, fine, resampler, wide, gain)
    up = resampler.up(low)
    z = subspace.whiten(low)
    prior = torch.einsum("blc,bck->blk", subspace.basis, gain) / subspace.std[..., None]
    rest = up - subspace.cube(resampler.up(z))
    guided = rest + subspace.cube(guided_upsample(z, resampler.down(fine), fine, radius=RADIUS, prior=prior))
    return {
        "interpolation": up,
        "interpolation, projected": pair.project(up),
        "guided interpolation": guided,
        "guided, projected: the start": pair.project(guided),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("root", type=Path, help="folder with <scene>_ms folders")
    parser.add_argument("srf", type=Path, help="table of the MSI's spectral response")
    parser.add_argument("--scales", type=int, nargs="+", default=[4, 8, 32])
    options = parser.parse_args()
    where = environment("torch", "numpy")
    torch.set_num_threads(2)
    matrix = response(str(options.srf), CAVE.wavelength_nm)
    table: dict[str, dict[str, dict[str, list[float]]]] = {}
    for scale in options.scales:
        psf = Psf("gaussian", sigma=scale / 2.35482)
        for name, path in CAVE.find(options.root).items():
            hr = np.asarray(hsipipe.open_cube(path).values, dtype=np.float32)
            made = parts(psf.downsample(hr, scale), apply_response(matrix, hr), matrix, psf, scale)
            for part, cube in made.items():
                sr = cube[0].numpy().clip(0, 1)
                numbers = [round(mpsnr_db(band_mse(sr, hr)), 3), round(sam_deg(sr, hr), 3)]
                table.setdefault(f"x{scale}", {}).setdefault(name, {})[part] = numbers
            print(f"x{scale} {name:24}", *(f"{db:6.2f} {sam:5.2f} |" for db, sam in table[f"x{scale}"][name].values()))
        means = np.mean([list(rows.values()) for rows in table[f"x{scale}"].values()], axis=0)
        print(f"x{scale} {'mean':24}", *(f"{db:6.2f} {sam:5.2f} |" for db, sam in means), flush=True)
    write_record(options.json, {"environment": where, "columns": ["mpsnr_db", "sam_deg"], "scales": table})


if __name__ == "__main__":
    main()
