"""A stage on a small project, with a real MLflow store."""

import json
import subprocess
import sys

import pytest

from hsipipe.artifacts import DegradedPairs, LatentStore, RawScenes, Scores, TrainedMethod
from hsipipe.checkout import locks
from hsipipe.errors import AlreadyRunningError, DataError, MissingInputError, ParamsError, TrainingPausedError
from hsipipe.locks import hold
from hsipipe.model_registry.store import connect
from hsipipe.params import load_params
from hsipipe.storage.manifest import verify
from hsipipe.storage.publish import publish
from tasks.running.dvc import set_params
from tasks.stage import Input, ParamsView, StageRun, _key_number, stage


@stage(reads=("dataset",))
def make(run: StageRun) -> RawScenes:
    (run.out / "scene.txt").write_text(run.params.dataset.name, encoding="utf-8")
    return run.finish(RawScenes, {"scenes": 1, "kind": "text"})


@stage(reads=("degradation",), each="method", trains=True)
def use(run: StageRun, scenes: RawScenes, latents: LatentStore | None) -> TrainedMethod:
    text = (scenes.path / "scene.txt").read_text(encoding="utf-8")
    (run.out / "weights.txt").write_text(text * run.params.degradation.scale, encoding="utf-8")
    (run.out / "latents.txt").write_text(latents.path.name if latents else "none", encoding="utf-8")
    for step in (10, 20):
        run.log(step, {"loss": 1 / step, "val_psnr_db": float(step)})
    run.publish_text("reports/extra.json", "{}\n")
    return run.finish(TrainedMethod, {"pairs": 1})


@stage(reads=(), each="method")
def score(run: StageRun, method: TrainedMethod) -> Scores:
    (run.out / "of.txt").write_text(method.path.name, encoding="utf-8")
    return run.finish(Scores, {})


@stage(reads=("compare",))
def gather(run: StageRun, scores: list[Scores]) -> DegradedPairs:
    (run.out / "rows.txt").write_text(" ".join(score.path.name for score in scores), encoding="utf-8")
    return run.finish(DegradedPairs, {})


def published(root, path):
    return (root / path).read_text(encoding="utf-8")


def runs(root):
    """Every run of the store, by name, newest first."""
    client = connect(root)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments)
    return {run.info.run_name.split()[0]: run for run in found}


def test_a_stage_publishes_its_output_and_its_numbers(root):
    make.execute()
    verify(root / "data/raw")
    # Numbers alone, for DVC; the text is a tag in MLflow.
    assert json.loads((root / "reports/stages/make.json").read_text(encoding="utf-8")) == {"scenes": 1}
    assert runs(root)["make"].data.tags["kind"] == "text"
    assert not list((root / ".hsipipe/work/make").iterdir())


def test_the_next_stage_gets_the_output_of_the_one_before(root):
    make.execute()
    use.execute("pca-residual@seed-1")
    assert published(root, "models/pca-residual@seed-1/weights.txt") == "synthetic" * 4
    assert published(root, "models/pca-residual@seed-1/latents.txt") == "none"
    curve = published(root, "reports/curves/pca-residual@seed-1.csv")
    assert curve == "step,loss,val_psnr_db\n10,0.1,10\n20,0.05,20\n"
    assert (root / "reports/extra.json").is_file()
    assert not (root / "reports/stages/use.json").exists()
    assert runs(root)["use@pca-residual@seed-1"].data.tags["hsipipe.stage"] == "use@pca-residual@seed-1"


def test_a_missing_input_names_the_command_that_makes_it(root):
    with pytest.raises(MissingInputError, match=r"use@bicubic needs data/raw, .* run: python -m tasks repro"):
        use.execute("bicubic")
    assert not (root / "models/bicubic").exists()


def test_the_settings_that_are_recorded_have_the_seed_of_the_row(root):
    params = load_params(root / "params.yaml")
    view = ParamsView(params, reads=("methods",), stage="train")
    assert view.tree("edsr")["methods"]["edsr"]["seed"] == 0
    assert view.tree("edsr@seed-1")["methods"]["edsr@seed-1"]["seed"] == 1
    assert view.tree("bicubic@seed-1")["methods"] == {"bicubic@seed-1": {}}


def test_latents_are_an_input_of_latent_methods_alone(root):
    make.execute()
    with pytest.raises(MissingInputError, match="use@dmgasr-latent needs data/latents/standard"):
        use.execute("dmgasr-latent")
    with publish(root / "data/latents/standard") as out:
        (out / "x").touch()
    use.execute("dmgasr-latent")
    assert published(root, "models/dmgasr-latent/latents.txt") == "standard"


def test_a_row_of_other_steps_is_scored_on_the_training_that_it_shares(root):
    make.execute()
    trainings = {"bicubic": "bicubic", "bicubic@steps-4": "bicubic", "bicubic@seed-1": "bicubic@seed-1"}
    for row, trained in trainings.items():
        use.execute(trained)
        score.execute(row)
        assert published(root, f"reports/scores/{row}/of.txt") == trained


def test_a_list_of_inputs_holds_all_rows_in_the_order_of_the_table(root):
    set_params(
        root, ["compare=[bicubic,pca-residual]", "seeds=[1]", "steps.methods=[pca-residual]", "steps.values=[4]"]
    )
    rows = ["bicubic", "bicubic@seed-1", "pca-residual", "pca-residual@seed-1", "pca-residual@steps-4"]
    for row in rows:
        with publish(root / "reports/scores" / row) as out:
            (out / "scores.json").write_text("{}", encoding="utf-8")
    gather.execute()
    assert published(root, "data/pairs/rows.txt").split() == rows


def test_params_that_were_not_declared_cannot_be_read(root):
    @stage(reads=("dataset",))
    def nosy(run: StageRun) -> RawScenes:
        return run.finish(RawScenes, {"scale": run.params.degradation.scale})

    with pytest.raises(ParamsError, match="reads the group 'degradation' without declaring it"):
        nosy.execute()


def failing(error):
    @stage(reads=())
    def fail(run: StageRun) -> RawScenes:
        (run.out / "half.txt").write_text("half", encoding="utf-8")
        (run.work / "resume.txt").write_text("here", encoding="utf-8")
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataError("band 7 is dead"), "FAILED"),
        (TrainingPausedError("stopped"), "KILLED"),
        (SystemExit(143), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
)
def test_a_stage_that_fails_publishes_nothing_and_keeps_its_work(root, error, status):
    with pytest.raises(type(error)):
        failing(error).execute()
    assert [path.name for path in (root / "data").iterdir()] == []
    assert not (root / "reports").exists()
    assert len(list((root / ".hsipipe/work/fail").glob("*/resume.txt"))) == 1
    found = runs(root)
    assert found["fail"].info.status == found["pipeline"].info.status == status


def test_a_failed_stage_leaves_the_old_output_as_it_was(root):
    make.execute()
    with pytest.raises(DataError):
        failing(DataError("no")).execute()
    assert (root / "data/raw/scene.txt").is_file()


def test_the_work_folder_depends_on_params_that_are_read_and_on_inputs(root):
    keys = []

    @stage(reads=("degradation",))
    def note(run: StageRun, scenes: RawScenes) -> DegradedPairs:
        keys.append(run.work.name)
        return run.finish(DegradedPairs, {})

    make.execute()
    note.execute()
    set_params(root, ["sampling.steps=7"])
    note.execute()
    assert keys[0] == keys[1]
    set_params(root, ["degradation.scale=2"])
    note.execute()
    assert keys[2] != keys[1]
    set_params(root, ["degradation.scale=4", "dataset.name=cave"])
    make.execute()
    note.execute()
    assert keys[3] not in keys[:3]


def test_a_stage_does_not_run_twice_at_once(root):
    code = (
        "import sys; from pathlib import Path; from hsipipe.locks import hold\n"
        "with hold(Path(sys.argv[1]), what='it'): print('held', flush=True); sys.stdin.read()"
    )
    lock = locks(root) / "make.lock"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    with pytest.raises(AlreadyRunningError, match="Stage make is already running"):
        make.execute()
    child.communicate()
    with hold(lock, what="it"):
        pass


def test_annotations_are_the_edges():
    one, many = {"many": False, "optional": False}, {"many": True, "optional": False}
    assert (make.inputs, make.output) == ({}, RawScenes)
    assert use.inputs == {"scenes": Input(RawScenes, **one), "latents": Input(LatentStore, many=False, optional=True)}
    assert (gather.inputs, gather.output) == ({"scores": Input(Scores, **many)}, DegradedPairs)


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ({"steps": 400, "val_mpsnr_db": 30.8}, ", val_mpsnr_db 30.8"),
        ({"size": 64, "train_patches": 54, "psf": "bicubic"}, ", train_patches 54"),
        ({"seconds": 2}, ", seconds 2"),
        ({"psf": "bicubic"}, ""),
    ],
)
def test_the_last_line_of_a_stage_has_its_most_telling_number(summary, said):
    assert _key_number(summary) == said
