"""Stage: put the super-resolver that validated best into one folder and into the model registry."""

import json
import shutil

from hsipipe.artifacts import (
    ControlCheckpoint,
    DegradedPairs,
    DiffusionCheckpoint,
    Evaluation,
    FusionCheckpoint,
    FusionControlCheckpoint,
    FusionRegressionCheckpoint,
    GaeCheckpoint,
    RegisteredModel,
    RegressionCheckpoint,
)
from tasks.running.project import METRICS
from tasks.stage import StageRun, stage


@stage(reads=("model", "dataset", "degradation", "hardware", "registry", "sampling", "fusion"))
def register(
    run: StageRun,
    pairs: DegradedPairs,
    gae: GaeCheckpoint,
    diffusion: DiffusionCheckpoint,
    regression: RegressionCheckpoint,
    control: ControlCheckpoint,
    fusion: FusionCheckpoint,
    fusion_regression: FusionRegressionCheckpoint,
    fusion_control: FusionControlCheckpoint,
    evaluation: Evaluation,
) -> RegisteredModel:
    """Register the best of ``registry.candidates`` as the challenger; the same content is registered once."""
    from hsipipe.evaluation.selection import validate_models
    from hsipipe.methods.device import device_for
    from hsipipe.methods.provenance import write_provenance
    from hsipipe.methods.trained import Checkpoints, load_trained
    from hsipipe.storage.publish import publish
    from tasks.tracking import register_model

    params, sampling = run.params, run.params.sampling
    device, fuses, pair = device_for(params.hardware.accelerator), params.model.fuses, params.fusion
    checkpoints = Checkpoints(gae, diffusion, regression, control, fusion, fusion_regression, fusion_control)
    trained = load_trained(checkpoints, fuses=fuses, sampling=sampling, fusion=pair, device=device)
    models = {trained[role].name: trained[role] for role in params.registry.candidates}
    validated = validate_models(models, pairs, sampling=sampling)
    best = max(validated, key=lambda name: validated[name])
    with publish(folder := run.work / "superresolver") as fresh:
        models[best].save(fresh)
        write_provenance(fresh, pairs, dataset=params.dataset)
    shutil.copytree(folder, run.out, dirs_exist_ok=True)
    metrics = json.loads((run.root / METRICS).read_text(encoding="utf-8"))
    tags = {key: metrics["models"][best][key] for key in ("mpsnr_db", "sam_deg")} | {"model": best}
    tags |= {f"protocol.{key}": metrics["protocol"][key] for key in ("name", "hash")}
    number = register_model(run.root, folder, tracker=run.tracker, tags=tags, model=models[best])
    scores = {f"val_mpsnr_db.{name}": value for name, value in validated.items()}
    version = {} if number is None else {"version": number}
    return run.finish(RegisteredModel, {**version, **scores, "name": run.tracker.experiment, "model": best})
