"""Measure the switches of sampling in denoising and deblurring, on validation scenes: docs/tasks.md.

    hsipipe pipeline $(hsipipe preset denoise)         # or deblur; then
    python benchmarks/restoration.py --root PROJECT

MPSNR of the trained model with residual decoding on and off and with more and more iterations of back-projection, and
of back-projection of the input without a model. With --snr-db noise is added to the input, to test a model that was
trained without it. Test scenes are not read: settings are chosen on validation.
"""

from pathlib import Path

from record import arguments, environment, read_record, write_record  # isort: skip

import numpy as np
import torch

from hsipipe import load_model
from hsipipe.artifacts import DegradedPairs, Pair
from hsipipe.degradation.noise import add_noise, band_power
from hsipipe.degradation.psf import make_psf
from hsipipe.diffusion.consistency import Resampler, back_project
from hsipipe.evaluation.metrics import band_mse, mpsnr_db
from hsipipe.methods.base import Method
from hsipipe.params import load_params


def measure(root: Path, *, iterations: list[int], snr_db: float | None) -> dict[str, list[float]]:
    """MPSNR in dB, mean over the validation scenes, one value for each number of iterations."""
    params = load_params(root / "params.yaml")
    degradation, pairs = params.degradation, DegradedPairs.in_project(root)
    scenes = [seen(pairs.read("val", name), snr_db) for name in pairs.names("val")]
    psf = make_psf(degradation.psf)

    def projected(lr: np.ndarray, count: int) -> np.ndarray:
        tensor = torch.from_numpy(lr)
        size = (lr.shape[1] * degradation.scale, lr.shape[2] * degradation.scale)
        resampler = Resampler(*size, scale=degradation.scale, like=tensor, psf=psf)
        return back_project(resampler.up(tensor), tensor, resampler=resampler, iterations=count).numpy()

    def model(decode: bool, count: int) -> Method:
        sampling = params.sampling.model_copy(update={"residual_decode": decode, "consistency": count})
        return load_model(root / "models/dmgasr-regression").prepared(sampling)

    predictors = {
        "input alone": projected,
        "dmgasr, residual decoding": lambda lr, count: model(True, count).predict(lr[None])[0],
        "dmgasr, plain decoding": lambda lr, count: model(False, count).predict(lr[None])[0],
    }
    return {
        name: [float(np.mean([quality(predict(lr, count), hr) for lr, hr in scenes])) for count in iterations]
        for name, predict in predictors.items()
    }


def seen(pair: Pair, snr_db: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Input and truth of a scene; with `snr_db` noise is added to the input."""
    if snr_db is None:
        return pair.lr, pair.hr
    power = band_power(pair.lr) / pair.lr[0].size
    return add_noise(pair.lr, snr_db=snr_db, power=power, seed=(0, 2)), pair.hr


def quality(sr: np.ndarray, hr: np.ndarray) -> float:
    return mpsnr_db(band_mse(sr.clip(0, 1), hr))


def main() -> None:
    parser = arguments(__doc__, result="restoration")
    parser.add_argument("--root", type=Path, default=Path(), help="the project whose trained model is measured")
    parser.add_argument("--iterations", type=int, nargs="+", default=[0, 2, 5, 20, 100], help="of back-projection")
    parser.add_argument("--snr-db", type=float, help="of noise that is added to the input")
    options = parser.parse_args()
    task = load_params(options.root / "params.yaml").degradation.task
    key = task if options.snr_db is None else f"{task}, noise of {options.snr_db:g} dB added"
    values = measure(options.root, iterations=options.iterations, snr_db=options.snr_db)
    print(key, options.iterations, *(f"{name}: {row}" for name, row in values.items()), sep="\n")
    record = read_record(options.json)
    record[key] = {**environment("torch", "numpy"), "iterations": options.iterations, "mpsnr_db": values}
    write_record(options.json, record)


if __name__ == "__main__":
    main()
