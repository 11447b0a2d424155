"""Retraining on real servers: better data is promoted, worse is not, and a rollback brings the old predictions back."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hsipipe import save_cube
from hsipipe.artifacts import RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.model_registry.load import load_registered
from hsipipe.params import load_params
from tasks.running.git import git
from tasks.tracking import standing

# Three runs of the pipeline and four that find nothing to do, on a machine that may be busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400), pytest.mark.xdist_group("servers")]

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
    "compare=[bicubic,pca-residual]",
    # Without it the models differ by what they learned.
    "sampling.consistency=0",
    "patches.size=32",
    "patches.stride=32",
    *(f"methods.pca-residual.{item}" for item in ("width=24", "blocks=2")),
    *(
        f"methods.pca-residual.optimizer.{item}"
        for item in ("steps=800", "warmup=5", "lr=0.002", "validate_every=50", "save_every=50")
    ),
    "gate.min_scenes=3",
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
    names = [entry["name"] for entry in folder.index()["scenes"]]
    return {f"scene_{number}": folder.open(name).load() for number, name in enumerate(names)}


def blurred(cube, *, std):
    return cube.copy(data=gaussian_filter(cube.to_numpy(), [std if dim in ("y", "x") else 0 for dim in cube.dims]))


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
        yield f"json://127.0.0.1:{httpd.server_port}/secret-path?+Authorization=Bearer%20swordfish", heard
        httpd.shutdown()
        thread.join()


@pytest.fixture
def retraining(new_project, tmp_path, monkeypatch, servers):
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


def test_better_is_promoted_worse_is_not_and_a_rollback_restores(retraining, run, servers, webhook, scenes, tmp_path):
    project, (address, heard) = retraining, webhook
    env = {**servers, "HSIPIPE_WEBHOOK_URL": address, "HSIPIPE_RETRY_S": "0"}
    lr = np.random.default_rng(0).random((1, 8, 8, 8), dtype=np.float32)

    def retrain(*, code=0):
        done = run("-m", "flows", "retrain", "--timeout", "20", cwd=project, env=env, timeout=1200)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        token, notification = heard[-1]
        assert token == "Bearer swordfish"
        assert "swordfish" not in said
        assert "secret-path" not in said
        return notification

    # Training scenes out of focus and a broken file: the first champion, held against interpolation.
    training = [name for name in scenes if name not in PINNED]
    arrive(project, {name: blurred(scenes[name], std=6) for name in training})
    arrive(project, {name: scenes[name] for name in PINNED})
    (project / "inbox" / "broken.nc").write_bytes((project / "inbox" / "scene_9.nc").read_bytes()[:2000])
    notification = retrain()
    assert notification["title"] == f"{project.name}: retrain promoted", notification
    assert any(line.startswith("broken: quarantined") for line in notification["message"].splitlines())
    (aside,) = (project / "inbox" / "quarantine").iterdir()
    assert sorted(path.name for path in aside.iterdir()) == ["broken.nc", "reason.json"]
    now = standing(project, NAME)
    assert (now.champion, now.challenger) == (1, 1)
    assert now.versions[1]["gate.champion"] == "interpolation"
    assert float(now.versions[1]["gate.mpsnr_db.bound"]) > 0
    first, judged = predictions(project, lr), now.versions[1]["gate.hash"]
    assert any((tmp_path / "remote").rglob("*.dir"))
    log = git(project, "log", "--format=%s")
    assert "scenes of the inbox" in log
    assert "state of the data behind version 1" in log
    assert git(project, "status", "--porcelain") == ""

    # The same scenes out of all focus, and another test scene: the champion is judged anew, and stays.
    arrive(project, {name: blurred(scenes[name], std=8) for name in training})
    arrive(project, {"scene_2": scenes["scene_2"] * np.float32(0.9)})
    notification = retrain()
    assert notification["title"].endswith("kept"), notification
    verdict = json.loads((project / ".hsipipe" / "gate.json").read_text(encoding="utf-8"))
    assert verdict["hash"] != judged
    assert verdict["scores"]["champion"].keys() == {"scene_0", "scene_1", "scene_2"}
    now = standing(project, NAME)
    assert (now.champion, now.challenger) == (1, 2)
    assert np.array_equal(predictions(project, lr), first)

    # Clean ones, but the remote storage cannot be written: a failed run promotes nothing.
    arrive(project, {name: scenes[name] for name in training})
    (tmp_path / "remote").rename(tmp_path / "away")
    (tmp_path / "remote").write_text("no folder", encoding="utf-8")
    notification = retrain(code=1)
    assert notification["title"].endswith("failed")
    assert "Data did not get to the remote storage" in notification["message"]
    assert standing(project, NAME).champion == 1

    # Uncommitted changes: nor does a dirty one, whatever the gate would say.
    (tmp_path / "remote").unlink()
    (tmp_path / "away").rename(tmp_path / "remote")
    path = project / "params.yaml"
    committed = path.read_text(encoding="utf-8")
    path.write_text(committed + "# another thought\n", encoding="utf-8")
    notification = retrain()
    assert notification["title"].endswith("kept"), notification
    assert "uncommitted changes (params.yaml)" in notification["message"]
    assert standing(project, NAME).champion == 1

    # All in order: promoted, with the evidence.
    path.write_text(committed, encoding="utf-8")
    notification = retrain()
    assert notification["title"].endswith("promoted"), notification
    now = standing(project, NAME)
    assert (now.champion, now.challenger) == (3, 3)
    assert now.versions[3]["gate.champion"] == "1"
    assert not np.array_equal(predictions(project, lr), first)

    # Back: the old predictions bit for bit, and the gate does not undo it in the next night.
    back = run("-m", "flows", "rollback", "--reason", "[stripes]", cwd=project, env=env)
    assert back.returncode == 0, back.stderr
    assert "Version 1 of hsipipe-folder-x4 is the champion; before it was version 3." in back.stdout
    assert np.array_equal(predictions(project, lr), first)
    notification = retrain()
    assert notification["title"].endswith("kept")
    assert "rolled back" in notification["message"]
    now = standing(project, NAME)
    assert now.champion == 1
    assert [(move.kind, move.version) for move in now.moves] == [("promotion", 1), ("promotion", 3), ("rollback", 1)]
    table = run("-m", "flows", "models", NAME, cwd=project, env=env)
    assert "withdrawn" in table.stdout
    assert "[stripes]" in table.stdout


def test_what_a_person_can_mend_is_said_before_anything_starts(new_project, run, tmp_path):
    project = new_project(tmp_path / "hsipipe", "dataset.name=folder", "dataset.root=scenes", "inbox.path=inbox")
    done = run("-m", "flows", "retrain", cwd=project)
    assert done.returncode == 1
    assert done.stderr.startswith("error: split.test_scenes and split.val_scenes are drawn among all scenes")
    assert len(done.stderr.splitlines()) == 1
