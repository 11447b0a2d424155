"""Stage: put the whole super-resolver into one folder and into the model registry."""

import json
import shutil

from hsipipe.artifacts import DiffusionCheckpoint, Evaluation, GaeCheckpoint, RegisteredModel
from tasks.project import METRICS
from tasks.stage import StageRun, stage


@stage(reads=("dataset", "degradation", "sampling"))
def register(
    run: StageRun, gae: GaeCheckpoint, diffusion: DiffusionCheckpoint, evaluation: Evaluation
) -> RegisteredModel:
    """Register what was evaluated, as the challenger; the same content is registered once."""
    from hsipipe.models.dmgasr import Dmgasr
    from hsipipe.storage.publish import publish
    from tasks.tracking import register_model

    model = Dmgasr.from_checkpoints(gae, diffusion, sampling=run.params.sampling)
    folder = run.work / "superresolver"
    with publish(folder) as fresh:
        model.save(fresh)
    shutil.copytree(folder, run.out, dirs_exist_ok=True)

    metrics = json.loads((run.root / METRICS).read_text(encoding="utf-8"))
    scores = metrics["models"][model.name]
    tags = {key: scores[key] for key in ("mpsnr_db", "sam_deg")}
    tags |= {"protocol.name": metrics["protocol"]["name"], "protocol.hash": metrics["protocol"]["hash"]}
    version = register_model(run.root, folder, tracker=run.tracker, bands=model.bands, tags=tags)
    number = {} if version is None else {"version": version}
    return run.finish(RegisteredModel, {**number, "name": run.tracker.experiment})
