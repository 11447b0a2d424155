"""Stage: score a method and its ceilings on whole test scenes."""

from hsipipe.artifacts import DegradedPairs, Scores, TrainedMethod
from tasks.stage import StageRun, stage

HEADLINE = ("mpsnr_db", "sam_deg")


@stage(reads=("dataset", "degradation", "hardware", "protocol", "sampling", "split"), each="method")
def evaluate(run: StageRun, pairs: DegradedPairs, method: TrainedMethod) -> Scores:
    """Write the scores, and predictions and errors for the report."""
    from hsipipe.evaluation.score_method import Faults, score_method
    from hsipipe.methods.catalogue import load_model
    from hsipipe.methods.device import device_for
    from hsipipe.protocols import protocol_of
    from hsipipe.storage.manifest import digest
    from hsipipe.training.outcome import fault_of
    from tasks.running.rows import Row

    params, row = run.params, Row.parse(run.item)
    protocol = protocol_of(params, pairs.index())
    sampling = row.sampling(params.sampling)
    model = load_model(method.path, device=str(device_for(params.hardware.accelerator))).prepared(sampling)
    scores = score_method(
        model,
        pairs,
        run.out,
        row=run.item,
        sha256=digest(method.path),
        protocol=protocol,
        sampling=sampling,
        faults=Faults(fault_of(method.path), fault_of(method.path, of="autoencoder_fault")),
    )
    scenes = [values[run.item] for values in scores["scenes"].values()]
    numbers = {key: [scene[key] for scene in scenes] for key in HEADLINE}
    headline = {key: sum(values) / len(values) for key, values in numbers.items() if None not in values}
    return run.finish(Scores, {**headline, "protocol.name": protocol.name, "protocol.hash": protocol.hash})
