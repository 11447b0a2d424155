"""Stage: put the super-resolver that validated best into one folder and into the model registry."""

import json
import shutil

from hsipipe.artifacts import (
    ControlCheckpoint,
    DegradedPairs,
    DiffusionCheckpoint,
    Evaluation,
    GaeCheckpoint,
    RegisteredModel,
    RegressionCheckpoint,
)
from tasks.project import METRICS
from tasks.stage import StageRun, stage


@stage(reads=("dataset", "degradation", "hardware", "registry", "sampling"))
def register(
    run: StageRun,
    pairs: DegradedPairs,
    gae: GaeCheckpoint,
    diffusion: DiffusionCheckpoint,
    regression: RegressionCheckpoint,
    control: ControlCheckpoint,
    evaluation: Evaluation,
) -> RegisteredModel:
    """Register the best of ``registry.candidates`` as the challenger; the same content is registered once."""
    from hsipipe.evaluation.selection import validate_models
    from hsipipe.models.base import SuperResolver
    from hsipipe.models.device import device_for
    from hsipipe.models.dmgasr import Dmgasr
    from hsipipe.models.pca_residual import PcaResidual
    from hsipipe.storage.publish import publish
    from tasks.tracking import register_model

    sampling, device = run.params.sampling, device_for(run.params.hardware.accelerator)
    trained: dict[str, Dmgasr | PcaResidual] = {
        "dmgasr": Dmgasr.from_checkpoints(gae, diffusion, sampling=sampling, device=device),
        "regression": Dmgasr.from_checkpoints(gae, regression, sampling=sampling, device=device),
        "pca-residual": PcaResidual.from_checkpoint(control, consistency=sampling.consistency, device=device),
    }
    candidates: dict[str, SuperResolver] = {name: trained[name] for name in run.params.registry.candidates}
    validated = validate_models(candidates, pairs, sampling=sampling)
    best = max(validated, key=lambda name: validated[name])
    model = trained[best]
    folder = run.work / "superresolver"
    with publish(folder) as fresh:
        model.save(fresh)
    shutil.copytree(folder, run.out, dirs_exist_ok=True)

    metrics = json.loads((run.root / METRICS).read_text(encoding="utf-8"))
    tags = {"model": best, **{key: metrics["models"][best][key] for key in ("mpsnr_db", "sam_deg")}}
    tags |= {"protocol.name": metrics["protocol"]["name"], "protocol.hash": metrics["protocol"]["hash"]}
    inputs = {"bands": model.bands, "msi_bands": model.msi_bands, "scale": model.scale}
    version = register_model(run.root, folder, tracker=run.tracker, tags=tags, **inputs)
    number = {} if version is None else {"version": version}
    summary = {f"val_mpsnr_db.{name}": value for name, value in validated.items()}
    return run.finish(RegisteredModel, {**number, **summary, "name": run.tracker.experiment, "model": best})
