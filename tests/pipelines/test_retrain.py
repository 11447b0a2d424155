"""Retraining on real servers: better data is promoted, worse is not, and a rollback brings the old predictions back."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from hsipipe import save_cube
from hsipipe.artifacts import RawScenes
from hsipipe.datasets.prepare import open_scene, prepare_scenes, scene_index
from hsipipe.params import load_params
from tasks.git import git
from tasks.tracking import load_registered, standing

# Four runs of the pipeline, on a machine that may be busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

PINNED = ("scene_0", "scene_1", "scene_2", "scene_3")
NAME = "hsipipe-folder-x4"
SMALL = (
    "dataset.name=folder",
    "dataset.root=scenes",
    "inbox.path=inbox",
    "inbox.quiet_s=0",
    "split.by=scene",
    "split.test_scenes=[scene_0,scene_1,scene_2]",
    "split.val_scenes=[scene_3]",
    "registry.candidates=[control]",
    "gae.optimizer.steps=2",
    "gae.optimizer.validate_every=2",
    "diffusion.optimizer.steps=2",
    "patches.size=32",
    "patches.stride=32",
    "control.width=24",
    "control.blocks=2",
    "control.optimizer.steps=800",
    "control.optimizer.warmup=5",
    "control.optimizer.lr=0.002",
    "control.optimizer.validate_every=50",
    "control.optimizer.save_every=50",
    # Seconds of training move the spectral angle, and a busy machine the times.
    "gate.max_sam_rise_deg=0.5",
    "gate.max_latency_ratio=1000",
)


@pytest.fixture(scope="module")
def scenes(repository, tmp_path_factory):
    """Ten clean scenes by name."""
    dataset = load_params(repository / "params.yaml").dataset
    synthetic = dataset.synthetic.model_copy(update={"scenes": 10, "size": 64, "bands": 8})
    folder = RawScenes(tmp_path_factory.mktemp("raw"))
    prepare_scenes(dataset.model_copy(update={"synthetic": synthetic}), folder.path)
    names = [entry["name"] for entry in scene_index(folder)["scenes"]]
    return {f"scene_{number}": open_scene(folder, name).load() for number, name in enumerate(names)}


def noisy(cube, *, seed, std):
    noise = np.random.default_rng(seed).normal(0, std, cube.shape).astype(np.float32)
    return cube.copy(data=np.clip(cube.to_numpy() + noise, 0, 1))


def arrive(project, cubes):
    (project / "inbox").mkdir(exist_ok=True)
    for name, cube in cubes.items():
        save_cube(cube, project / "inbox" / f"{name}.nc")


@pytest.fixture
def servers(request, mlflow_server):
    """MLflow and Prefect as servers of their own, on PostgreSQL where it is installed, else on SQLite."""
    try:
        prefect = request.getfixturevalue("prefect_on_postgres")
    except pytest.skip.Exception:
        prefect = request.getfixturevalue("prefect_api")
    return {"PREFECT_API_URL": prefect, "MLFLOW_TRACKING_URI": mlflow_server}


@pytest.fixture
def webhook():
    """An address that keeps what is posted to it."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/secret-path", heard
        httpd.shutdown()
        thread.join()


@pytest.fixture
def project(new_project, tmp_path, monkeypatch, servers):
    """A project with an inbox and a remote storage."""
    root = new_project(tmp_path / "hsipipe", *SMALL)
    (tmp_path / "remote").mkdir()
    text = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {tmp_path / 'remote'}\n"
    (root / ".dvc" / "config.local").write_text(text, encoding="utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", servers["MLFLOW_TRACKING_URI"])
    return root


def predictions(project, lr):
    """What a consumer gets of the alias."""
    return load_registered(project, f"models:/{NAME}@champion").predict(lr)


def test_better_is_promoted_worse_is_not_and_a_rollback_restores(project, run, servers, webhook, scenes, tmp_path):
    address, heard = webhook
    env = {**servers, "HSIPIPE_WEBHOOK_URL": address, "HSIPIPE_WEBHOOK_TOKEN": "swordfish"}
    lr = np.random.default_rng(0).random((1, 8, 8, 8), dtype=np.float32)

    def retrain():
        done = run("-m", "flows", "retrain", "--timeout", "8", cwd=project, env=env, timeout=550)
        assert done.returncode == 0, done.stdout + done.stderr
        token, news = heard[-1]
        assert token == "Bearer swordfish"
        assert not {"swordfish", "secret-path"} & {word for word in (done.stdout + done.stderr).split()}
        return news

    # Middling training scenes and a broken file: the first champion, held against interpolation.
    training = [name for name in scenes if name not in PINNED]
    arrive(project, {name: noisy(scenes[name], seed=1, std=0.1) for name in training})
    arrive(project, {name: scenes[name] for name in PINNED})
    (project / "inbox" / "broken.nc").write_bytes((project / "inbox" / "scene_9.nc").read_bytes()[:2000])
    news = retrain()
    assert (news["outcome"], news["flow"]) == ("promoted", "retrain")
    assert any(line.startswith("broken: quarantined") for line in news["details"])
    assert sorted(path.name for path in (project / "inbox" / "quarantine").iterdir()) == [
        "broken.nc",
        "broken.nc.reason.txt",
    ]
    now = standing(project, NAME)
    assert (now.champion, now.challenger) == (1, 1)
    assert now.versions[1]["gate.champion"] == "interpolation"
    assert float(now.versions[1]["gate.mpsnr_db.bound"]) > 0
    first = predictions(project, lr)
    assert any((tmp_path / "remote").rglob("*.dir"))
    log = git(project, "log", "--format=%s")
    assert "scenes of the inbox" in log
    assert "state of the data behind version 1" in log
    assert git(project, "status", "--porcelain") == ""

    # The same scenes under heavy noise: another version, and the champion stays.
    arrive(project, {name: noisy(scenes[name], seed=2, std=0.3) for name in training})
    news = retrain()
    assert news["outcome"] == "kept"
    now = standing(project, NAME)
    assert (now.champion, now.challenger) == (1, 2)
    assert np.array_equal(predictions(project, lr), first)

    # Clean ones: promoted, with the evidence.
    arrive(project, {name: scenes[name] for name in training})
    news = retrain()
    assert news["outcome"] == "promoted", news
    now = standing(project, NAME)
    assert (now.champion, now.challenger) == (3, 3)
    assert now.versions[3]["gate.champion"] == "1"
    assert not np.array_equal(predictions(project, lr), first)

    # Back: the old predictions bit for bit, and the gate does not undo it in the next night.
    back = run("-m", "flows", "rollback", "--reason", "stripes", cwd=project, env=env)
    assert back.returncode == 0, back.stderr
    assert "Version 1 of hsipipe-folder-x4 is the champion; before it was version 3." in back.stdout
    assert np.array_equal(predictions(project, lr), first)
    news = retrain()
    assert news["outcome"] == "kept"
    assert "rolled back" in news["text"]
    now = standing(project, NAME)
    assert now.champion == 1
    assert [(move.kind, move.version) for move in now.moves] == [("promotion", 1), ("promotion", 3), ("rollback", 1)]
    table = run("-m", "flows", "models", NAME, cwd=project, env=env)
    assert "withdrawn" in table.stdout
    assert "stripes" in table.stdout

    # Uncommitted code: whatever the gate would say.
    path = project / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "# another thought\n", encoding="utf-8")
    news = retrain()
    assert news["outcome"] == "kept"
    assert "uncommitted changes (params.yaml)" in news["text"]


def test_what_a_person_can_mend_is_said_before_anything_starts(new_project, run, tmp_path):
    project = new_project(tmp_path / "hsipipe", "dataset.name=folder", "dataset.root=scenes", "inbox.path=inbox")
    done = run("-m", "flows", "retrain", cwd=project)
    assert done.returncode == 1
    assert done.stderr.startswith("error: split.test_scenes and split.val_scenes are drawn among all scenes")
    assert len(done.stderr.splitlines()) == 1


def test_a_remote_storage_that_cannot_be_written_is_asked_again_and_then_nothing_is_promoted(
    own_project, run, prefect_api, tmp_path
):
    """The workspace is up to date, so that this is about the transfer alone."""
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    text = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {tmp_path / 'file' / 'x'}\n"
    (own_project / ".dvc" / "config.local").write_text(text, encoding="utf-8")
    env = {"PREFECT_API_URL": prefect_api, "HSIPIPE_RETRY_S": "0"}
    done = run("-m", "flows", "retrain", cwd=own_project, env=env, timeout=550)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert said.count("will run again") == 3 or said.count("Retry 3/3") == 1
    assert done.stderr.splitlines()[-1].startswith("error: Data did not get to the remote storage")
    name = "hsipipe-synthetic-x4"
    assert standing(own_project, name).champion is None
