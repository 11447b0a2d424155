"""Stage: copy the method with the best validation into one folder and register it."""

import math
import shutil

from hsipipe.artifacts import Comparison, DegradedPairs, RegisteredModel, TrainedMethod
from hsipipe.artifacts.registration import Registration
from tasks.running.project import read_metrics
from tasks.stage import StageRun, stage

_DIGITS = 3
"""Of dB: a difference below is that of the order of sums, as on another device."""


@stage(reads=("compare", "dataset", "degradation", "registry", "sampling"))
def register(run: StageRun, pairs: DegradedPairs, comparison: Comparison) -> RegisteredModel:
    """Register the best of ``registry.candidates`` as the challenger; the same content is registered once.

    A posterior has the prediction of its regression. It goes before it if its samples are better on the validation than
    the prediction alone, and before another posterior of the same regression if its samples are better. In the sharp
    mode it has a lower PSNR than the regression; name it in ``registry.candidates`` to register it.

    If no compared method is trained, nothing is registered, and the folder holds a note.
    """
    from hsipipe.methods.catalogue import candidates, load_model
    from hsipipe.methods.provenance import write_provenance
    from hsipipe.storage.publish import publish
    from hsipipe.training.outcome import read_outcome
    from tasks.running.rows import Row
    from tasks.tracking import CHALLENGER, record_results, register_model
    from tasks.tracking.texts import Card

    params, metrics = run.params, read_metrics(run.root)
    # By their validation results and not by their settings, on which this stage would then depend.
    validated = {name: metrics["validation"][name] for name in candidates(params, metrics["validation"])}
    name = run.tracker.experiment
    if not validated:
        (run.out / "NO_MODEL.txt").write_text("No compared method is trained.\n", encoding="utf-8")
        run.publish_text(Registration.PATH, Registration(name).as_json())
        return run.finish(RegisteredModel, {"name": name})

    def merit(name: str) -> tuple[float, float]:
        # None stands for an infinite value: a perfect prediction.
        psnr = math.inf if validated[name] is None else validated[name]
        outcome = read_outcome(TrainedMethod.in_project(run.root, name).path)
        return round(psnr, _DIGITS), float(outcome.get("val_crps_gain_db", 0.0))

    best = max(validated, key=merit)
    method = load_model(TrainedMethod.in_project(run.root, best).path).prepared(Row(best).sampling(params.sampling))
    with publish(folder := run.work / "superresolver") as fresh:
        method.save(fresh)
        write_provenance(fresh, pairs, dataset=params.dataset)
    shutil.copytree(folder, run.out, dirs_exist_ok=True)
    card = Card(metrics, best, method)
    number = register_model(run.root, folder, tracker=run.tracker, model=method, tags=card.tags(), card=card)
    entry = Registration(name, best, number, CHALLENGER, fuses=method.msi_bands != 0)
    record_results(run.tracker, metrics, entry=entry)
    run.publish_text(Registration.PATH, entry.as_json())
    scores = {f"val_mpsnr_db.{each}": validated[each] for each in (best, *validated) if validated[each] is not None}
    return run.finish(RegisteredModel, {"version": number, **scores, "name": name, "model": best})
