"""Stage: put the super-resolver that validated best into one folder and into the model registry."""

import json
import shutil

from hsipipe.artifacts import (
    ControlCheckpoint,
    DiffusionCheckpoint,
    Evaluation,
    GaeCheckpoint,
    RegisteredModel,
    RegressionCheckpoint,
)
from tasks.project import METRICS
from tasks.stage import StageRun, stage


@stage(reads=("dataset", "degradation", "registry", "sampling"))
def register(
    run: StageRun,
    gae: GaeCheckpoint,
    diffusion: DiffusionCheckpoint,
    regression: RegressionCheckpoint,
    control: ControlCheckpoint,
    evaluation: Evaluation,
) -> RegisteredModel:
    """Register the best of ``registry.candidates`` as the challenger; the same content is registered once."""
    from hsipipe.models.dmgasr import Dmgasr
    from hsipipe.models.pca_residual import PcaResidual
    from hsipipe.models.selection import best_on_validation
    from hsipipe.storage.publish import publish
    from tasks.tracking import register_model

    sampling = run.params.sampling
    checkpoints = {"dmgasr": diffusion, "regression": regression, "pca-residual": control}
    best = best_on_validation({name: checkpoints[name].path for name in run.params.registry.candidates})
    model: Dmgasr | PcaResidual
    if best == "pca-residual":
        model = PcaResidual.from_checkpoint(control, consistency=sampling.consistency)
    else:
        model = Dmgasr.from_checkpoints(gae, diffusion if best == "dmgasr" else regression, sampling=sampling)
    folder = run.work / "superresolver"
    with publish(folder) as fresh:
        model.save(fresh)
    shutil.copytree(folder, run.out, dirs_exist_ok=True)

    metrics = json.loads((run.root / METRICS).read_text(encoding="utf-8"))
    scores = metrics["models"][best]
    tags = {"model": best, **{key: scores[key] for key in ("mpsnr_db", "sam_deg")}}
    tags |= {"protocol.name": metrics["protocol"]["name"], "protocol.hash": metrics["protocol"]["hash"]}
    version = register_model(run.root, folder, tracker=run.tracker, bands=model.bands, tags=tags)
    number = {} if version is None else {"version": version}
    return run.finish(RegisteredModel, {**number, "name": run.tracker.experiment, "model": best})
