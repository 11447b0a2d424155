"""Which of several trained models is shipped: the best on the validation scenes, never the best on the test scenes."""

from collections.abc import Mapping

import numpy as np

from hsipipe.artifacts import DegradedPairs
from hsipipe.errors import DataError
from hsipipe.evaluation.metrics import band_mse, mpsnr_db
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.params import SamplingParams
from hsipipe.progress import progress


def validate_models(
    models: Mapping[str, SuperResolver], pairs: DegradedPairs, *, sampling: SamplingParams
) -> dict[str, float]:
    """MPSNR in dB of each model, mean over the whole validation scenes, predicted as whole scenes are in use.

    The patches of the training's own validation are no substitute: the models differ in how they fare at a border,
    which a small patch has much of and a scene little.

    Args:
        models: By name.
        pairs: Their validation split is read.
        sampling: Its tiles.

    Returns:
        Name to MPSNR; predictions are clipped to the full range 0..1.

    Raises:
        DataError: There is no validation scene.
    """
    names = pairs.names("val")
    if not names:
        raise DataError("There is no validation scene, expected at least one; check the group split in params.yaml.")
    values: dict[str, list[float]] = {model: [] for model in models}
    with progress("validate", len(names) * len(models)) as advance:
        for scene in names:
            pair = pairs.read("val", scene)
            for name, model in models.items():
                msi = pair.msi if model.msi_bands != 0 else None
                sr = predict_scene(model, pair.lr, tile=sampling.tile, overlap=sampling.overlap, msi=msi)
                values[name].append(mpsnr_db(band_mse(sr.clip(0, 1), pair.hr)))
                advance(note=f"{scene}: {name}")
    return {name: float(np.mean(of_model)) for name, of_model in values.items()}
