"""Real pairs of EO-1 (Hyperion, ALI) in reduced and in full resolution: docs/fusion.md.

    python benchmarks/real_pair.py PARIS_FOLDER CAVE_FOLDER SRF_TABLE --json benchmarks/results/real_pair.json

Reduced resolution (Wald): Hyperion and ALI's nine bands lie on one grid of 30 m; Hyperion is degraded by 3 with a known
PSF, and itself the truth. Full resolution: Hyperion at 30 m and ALI's panchromatic band at 10 m; there is no truth, so
D_lambda, D_s and QNR judge, and the PSF is estimated as well. The spectral responses are estimated from each pair,
whichever method works with them. fusion-fast comes from CAVE (31 bands, three MSI bands, x3), and has seen nothing of
these sensors.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from record import ROOT, environment, write_record  # isort: skip

import numpy as np
import torch
from prepared import changed, prepare, trained

import hsipipe
from hsipipe.degradation.estimate import estimate_psf, estimate_response, explained
from hsipipe.degradation.psf import Psf
from hsipipe.degradation.registration import pair_warnings
from hsipipe.evaluation.fusion_metrics import without_truth
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.base import Method
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.cnmf import Cnmf
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.gsa import Gsa
from hsipipe.methods.hysure import HySure
from hsipipe.methods.sfim import Sfim
from hsipipe.params import Params, load_params

UNTRAINED = (Sfim, Gsa, Cnmf, HySure)
SCALE = 3
MTF = 0.3
SCALE_HSI, SCALE_MSI = 1.3, 1.5  # as of the data set paris_eo1


def params_for(cave: Path, srf: Path, steps: int) -> Params:
    params = load_params(ROOT / "params.yaml")
    every = max(1, steps // 4)
    warmup = min(params.methods["fusion-fast-regression"]["optimizer"]["warmup"], steps // 10)
    optimizer = {"steps": steps, "validate_every": every, "save_every": every, "warmup": warmup}
    changes = {
        "dataset": {"name": "cave", "root": str(cave.absolute())},
        "degradation": {
            "psf": {"kind": "gaussian", "mtf": MTF},
            "scale": SCALE,
            "srf": str(srf.absolute()),
            "crop_remainder": True,
        },
        "patches": {"size": 96, "stride": 96},
        "methods": {"fusion-fast-regression": {"optimizer": optimizer}},
    }
    return changed(params, changes)


def train(params: Params, root: Path) -> FusionModel:
    prepare(params, root)
    name = "fusion-fast-regression"
    return trained(name, params, root, root / "trained").prepared(params.sampling.of(name))


def cubes(path: Path, msi: str, *, crop: int) -> tuple[np.ndarray, np.ndarray]:
    """HSI and MSI (band, y, x) in units of the full scale; rows and columns that do not fill an LR pixel go."""
    hsi, fine = (
        np.ascontiguousarray(hsipipe.open_cube(path, variable=name).to_numpy() / scale, dtype=np.float32)
        for name, scale in (("HSim", SCALE_HSI), (msi, SCALE_MSI))
    )
    height, width = (size - size % crop for size in hsi.shape[1:])
    ratio = fine.shape[1] // hsi.shape[1]
    return hsi[:, :height, :width], fine[:, : ratio * height, : ratio * width]


def rows(fusion: FusionModel, psf: Psf) -> dict[str, Method]:
    untrained = [kind(scale=SCALE, psf=psf) for kind in UNTRAINED]
    bound = fusion.with_sensors(psf=psf, response="estimated")
    return {"bicubic": Bicubic(SCALE), **{model.name: model for model in untrained}, "fusion-fast": bound}


def predict(model: Method, lr: np.ndarray, msi: np.ndarray) -> np.ndarray:
    fine = None if model.msi_bands == 0 else msi
    if isinstance(model, FusionModel):
        return predict_scene(model, lr, msi=fine, tile=128, overlap=8)
    return model.predict(lr[None], **({} if fine is None else {"msi": fine[None]}))[0]


def reduced(path: Path, fusion: FusionModel) -> dict[str, dict[str, float]]:
    truth, msi = cubes(path, "MSim", crop=SCALE)
    psf = Psf("gaussian", mtf=MTF)
    lr = psf.downsample(truth, SCALE)
    tell(lr, msi, psf)
    table = {}
    for name, model in rows(fusion, psf).items():
        sr = predict(model, lr, msi)
        scores = hsipipe.score(sr, truth, SCALE, lr=lr, psf=psf)
        kept = ("mpsnr_db", "sam_deg", "ergas", "consistency_psnr_db")
        table[name] = {key: scores[key] for key in kept} | without_truth(sr, lr, msi, scale=SCALE, psf=psf)
    return table


def full(path: Path, fusion: FusionModel) -> dict[str, dict[str, float]]:
    lr, pan = cubes(path, "PCim", crop=1)
    psf = estimate_psf(lr, pan, scale=SCALE)
    tell(lr, pan, psf)
    table = {}
    for name, model in rows(fusion, psf).items():
        sr = predict(model, lr, pan)
        consistency = hsipipe.score(sr, sr, SCALE, lr=lr, psf=psf)["consistency_psnr_db"]
        table[name] = {"consistency_psnr_db": consistency} | without_truth(sr, lr, pan, scale=SCALE, psf=psf)
    return table


def tell(lr: np.ndarray, msi: np.ndarray, psf: Psf) -> None:
    response = estimate_response(lr, msi, scale=SCALE, psf=psf)
    shares = explained(lr, msi, scale=SCALE, psf=psf, response=response)
    print(f"{len(lr)} bands {lr.shape[1:]}, MSI {msi.shape}; PSF {psf.describe(SCALE)}")
    print("explained of the MSI's bands:", " ".join(f"{share:.3f}" for share in shares))
    for sentence in pair_warnings(lr, msi, scale=SCALE, psf=psf, response=None):
        print("warning:", sentence)


def show(title: str, table: Mapping[str, Mapping[str, float]]) -> None:
    keys = list(next(iter(table.values())))
    print(f"\n{title}\n| {'':12} | {' | '.join(keys)} |")
    for name, values in table.items():
        print(f"| {name:12} | {' | '.join(f'{values[key]:.4f}' for key in keys)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paris", type=Path, help="folder with paris_hyperion_ali_hs_ms.mat and ..._hs_pan.mat")
    parser.add_argument("cave", type=Path, help="folder with <scene>_ms folders, for the training")
    parser.add_argument("srf", type=Path, help="table of the training's spectral response")
    parser.add_argument("--steps", type=int, default=600, help="of the training")
    parser.add_argument("--work", type=Path, help="keep data and training here")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    where = environment("torch", "numpy", "scipy")
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        fusion = train(params_for(options.cave, options.srf, options.steps), options.work or Path(folder))
        tables = {
            "reduced resolution, Hyperion and ALI": reduced(find(options.paris, "*hs_ms.mat"), fusion),
            "full resolution, Hyperion and ALI PAN": full(find(options.paris, "*hs_pan.mat"), fusion),
        }
    for title, table in tables.items():
        show(title, table)
    if options.json:
        write_record(options.json, {"environment": where, "scale": SCALE, "steps": options.steps, "tables": tables})


def find(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise SystemExit(f"No {pattern} in {folder}.")
    return found[0]


if __name__ == "__main__":
    main()
