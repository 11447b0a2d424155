"""The parent run of a pipeline run shows its results, and a model version its card, in a real MLflow store."""

from copy import deepcopy

import pytest

from hsipipe.artifacts.registration import Registration
from hsipipe.model_registry.store import EXPERIMENT_TAGS, connect, experiment_id
from hsipipe.params import load_params
from hsipipe.storage.publish import publish
from tasks.tracking import how_to_open, pipeline_run, record_results, register_model
from tasks.tracking.results import NOTE
from tasks.tracking.runs import stage_run
from tasks.tracking.texts import LONGEST, Card, run_description

pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

NAME = "hsipipe-synthetic-x4"
ENTRY = Registration(NAME, "pca-residual", 3, "challenger")


def row(mpsnr_db, sam_deg, *, kind="method"):
    return {"mpsnr_db": mpsnr_db, "mssim": 0.9, "sam_deg": sam_deg, "ergas": 3.0, "nfe": 1, "kind": kind}


@pytest.fixture
def metrics():
    """Numbers of two scenes, in which sfim is below the baseline and one ceiling is perfect."""
    models = {
        "bicubic": row(30.0, 4.0),
        "pca-residual": row(31.5, 3.5),
        "edsr@steps-2": row(31.0, 3.6),
        "sfim": row(29.0, 4.2),
        "pca-6-ceiling (edsr)": row(None, 0.0, kind="ceiling"),
    }
    return {
        "baseline": "bicubic",
        "models": models,
        "scenes": {"a": deepcopy(models), "b": deepcopy(models)},
        "spread": {},
        "trained": ["pca-residual", "edsr@steps-2"],
        "fuses": [],
        "descriptions": {name: f"what {name} does" for name in models},
        "protocol": {
            "name": "default",
            "hash": "0123456789abcdef",
            "fields": [["dataset.name", "synthetic"], ["scale", 4], ["plan.train", ["a", "b", "c"]]],
        },
    }


def recorded(root, *calls):
    """Record results in one stage; return the parent run and the client."""
    with stage_run(root, "report", params=load_params(root / "params.yaml"), visible={}, digests={}) as tracker:
        for given, options in calls:
            record_results(tracker, given, **options)
    return tracker.client.get_run(tracker.parent_id), tracker.client


def test_the_parent_run_has_every_row_and_what_was_registered(root, metrics):
    run, _ = recorded(root, (metrics, {}), (metrics, {"entry": ENTRY}))
    found = run.data.metrics
    for name in ("bicubic", "pca-residual", "sfim"):
        assert found[f"{name}.mpsnr_db"] == metrics["models"][name]["mpsnr_db"]
    assert found["edsr:steps-2.sam_deg"] == 3.6
    assert found["pca-6-ceiling edsr.sam_deg"] == 0.0
    assert "pca-6-ceiling edsr.mpsnr_db" not in found  # infinite
    assert (found["shipped.mpsnr_db"], found["shipped.sam_deg"]) == (31.5, 3.5)
    tags = run.data.tags
    assert (tags["shipped.name"], tags["shipped.version"]) == ("pca-residual", f"{NAME}/3")
    assert (tags["dataset"], tags["protocol.hash"]) == ("synthetic", "0123456789abcdef")
    (test_set,) = run.inputs.dataset_inputs
    assert (test_set.dataset.name, test_set.dataset.digest) == ("synthetic", "0123456789abcdef")


def test_a_number_is_recorded_once_and_a_new_one_again(root, metrics):
    changed = deepcopy(metrics)
    changed["models"]["sfim"]["mpsnr_db"] = 29.5
    run, client = recorded(root, (metrics, {}), (metrics, {}), (changed, {}))
    assert len(client.get_metric_history(run.info.run_id, "bicubic.mpsnr_db")) == 1
    assert [entry.value for entry in client.get_metric_history(run.info.run_id, "sfim.mpsnr_db")] == [29.0, 29.5]
    assert run.data.metrics["sfim.mpsnr_db"] == 29.5


def test_the_description_is_the_answer_with_table_and_verdicts(root, metrics):
    run, _ = recorded(root, (metrics, {"entry": ENTRY}))
    text = run.data.tags[NOTE]
    assert text.startswith("**pca-residual has the highest MPSNR: 31.50 dB, the mean over 2 test scenes.")
    assert f"Registered: pca-residual, as `{NAME}` version 3, alias challenger." in text
    assert "Protocol default, hash `0123456789abcdef`" in text
    assert "| sfim | 29.00 | 0.9000 | 4.20 | 3.00 |" in text.replace("&ensp;", "")
    assert "- **!** sfim is NOT above bicubic" in text


def test_without_a_trained_method_the_description_says_so(root, metrics):
    run, _ = recorded(root, (metrics, {"entry": Registration(NAME)}))
    assert "Nothing was registered: no compared method is trained." in run.data.tags[NOTE]
    assert not any(key.startswith("shipped") for key in {**run.data.tags, **run.data.metrics})


def test_a_description_that_is_too_long_ends_with_a_whole_line(metrics):
    for number in range(200):
        metrics["models"][f"method-{number}"] = row(20.0, 9.0)
    text = run_description(metrics, ENTRY)
    assert len(text) <= LONGEST
    *lines, _, last = text.splitlines()
    assert last == "(shortened; the report has the rest)"
    assert lines[-1].startswith("| method-")
    assert lines[-1].endswith(" |")


def test_the_report_lies_with_the_parent_run(root, metrics, tmp_path):
    report = tmp_path / "written"
    (report / "figures").mkdir(parents=True)
    (report / "index.html").write_text("<p>report", encoding="utf-8")
    (report / "figures/gain.png").write_bytes(b"png")
    run, client = recorded(root, (metrics, {"report": report}))
    assert [entry.path for entry in client.list_artifacts(run.info.run_id, "report")] == [
        "report/figures",
        "report/index.html",
    ]


def test_the_run_of_the_pipeline_has_a_page_and_a_duration(root, monkeypatch):
    given = {"params": load_params(root / "params.yaml"), "visible": {}, "digests": {}}
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with stage_run(root, "report", **given) as tracker:
        info = tracker.client.get_run(tracker.parent_id).info
        found = pipeline_run(tracker, root)
        page = f"/#/experiments/{info.experiment_id}/runs/{info.run_id}?workflowType=machine_learning"
        assert found.url == f"http://127.0.0.1:5000{page}"
        assert found.command == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
        assert 0 <= found.seconds < 3600
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://name:secret@mlflow.example.org/")
        assert pipeline_run(tracker, root)[:2] == (f"https://mlflow.example.org{page}", "")


def register(root, tmp_path, model, metrics):
    folder = tmp_path / "superresolver"
    with publish(folder) as out:
        model.save(out)
    card = Card(metrics, "pca-residual", model)
    with stage_run(root, "register", params=load_params(root / "params.yaml"), visible={}, digests={}) as tracker:
        return register_model(root, folder, tracker=tracker, model=model, tags=card.tags(), card=card)


def test_a_version_has_a_card(root, tmp_path, small_model, metrics):
    assert register(root, tmp_path, small_model(), metrics) == 1
    version = connect(root).get_model_version(NAME, "1")
    text = version.description
    assert text.startswith("pca-residual for super-resolution at scale 4: what pca-residual does")
    assert f'model = mlflow.pyfunc.load_model("models:/{NAME}/1")\nsr = model.predict(lr)' in text
    assert "regions: 3 for train, 0 for val, 0 for test" in text
    assert "Protocol default, hash `0123456789abcdef`" in text
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["| ", "| ---", "| pca-residual", "| bicubic", "| sfim"]
    assert "generated scenes, which say nothing about real ones" in text
    assert version.tags["mpsnr_db"] == "31.5"
    assert "alias champion" in connect(root).get_registered_model(NAME).description


def test_the_card_names_a_training_that_was_not_completed(small_model, metrics):
    metrics["faults"] = {"pca-residual": "the training collapsed"}
    card = Card(metrics, "pca-residual", small_model())
    assert card.text("models:/x/1").count("the training collapsed") == 2  # below the table, and as a limit
    assert "- Its training was not completed: the training collapsed." in card.text("models:/x/1")
    assert card.tags()["fault"] == "the training collapsed"


def test_descriptions_of_users_are_kept(root, tmp_path, small_model, metrics):
    register(root, tmp_path, small_model(), metrics)
    client = connect(root)
    client.update_model_version(NAME, "1", "good over water")
    client.update_registered_model(NAME, "ours")
    assert register(root, tmp_path, small_model(), metrics) == 1
    assert client.get_model_version(NAME, "1").description == "good over water"
    assert client.get_registered_model(NAME).description == "ours"


def test_an_experiment_is_one_of_training_and_an_old_one_becomes_one(root):
    client = connect(root)
    client.create_experiment("old", tags={"mlflow.note.content": "mine"})
    for name in ("old", "new"):
        tags = client.get_experiment(experiment_id(client, root, name)).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert client.get_experiment_by_name("old").tags["mlflow.note.content"] == "mine"
    assert tags["mlflow.note.content"] == EXPERIMENT_TAGS["mlflow.note.content"]


def test_the_page_of_an_experiment_is_named(root):
    number = experiment_id(connect(root), root, NAME)
    page = f"/#/experiments/{number}?workflowType=machine_learning"
    store = f"sqlite:///{root / 'mlflow.db'}"
    assert how_to_open(root, NAME) == f"http://127.0.0.1:5000{page} after: mlflow ui --backend-store-uri {store}"


def test_to_name_the_page_of_an_experiment_changes_nothing(root):
    client = connect(root)
    assert how_to_open(root, NAME) == f"no experiment {NAME} in sqlite:///{root / 'mlflow.db'}"
    assert client.get_experiment_by_name(NAME) is None
    number = client.create_experiment(NAME)
    client.delete_experiment(number)
    assert f"/#/experiments/{number}?" in how_to_open(root, NAME)
    found = client.get_experiment(number)
    assert (found.lifecycle_stage, found.tags) == ("deleted", {})
