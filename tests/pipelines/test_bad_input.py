"""Bad input gives one clear line and a non-zero exit, and publishes nothing."""

import hashlib
import shutil
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml
from PIL import Image

import hsipipe.datasets.cave as cave_module
from hsipipe.datasets.base import Dataset
from hsipipe.datasets.download import Archive
from hsipipe.exits import guarded
from tasks.running import dvc
from tasks.running.stages import STAGES

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OUTPUTS = ("data", "models", "reports")


@pytest.fixture
def empty_project(new_project, fresh_store, tmp_path):
    """A checkout in which nothing ran yet."""
    root = new_project(tmp_path / "hsipipe")
    shutil.copyfile(fresh_store, root / "mlflow.db")
    return root


@pytest.fixture
def complaint_of(monkeypatch, capfd):
    """Run a stage that must fail, as its command does but in this process; gives its line on stderr."""

    def complaint_of(stage, item="", *, cwd):
        monkeypatch.chdir(cwd)
        assert guarded(lambda: STAGES[stage].execute(item)) == 1
        return complaint(capfd.readouterr().err)

    return complaint_of


def complaint(stderr):
    """The one line on stderr that says what is wrong."""
    assert "Traceback" not in stderr
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, stderr
    return lines[0]


def published(root):
    """Every file under the output folders."""
    return sorted(path for name in OUTPUTS for path in (root / name).rglob("*") if path.is_file())


@pytest.fixture
def cave(tmp_path):
    """A folder of three small scenes in CAVE's layout."""
    random = np.random.default_rng(0)
    root = tmp_path / "cave"
    for scene in ("a", "b", "c"):
        folder = root / f"{scene}_ms"
        folder.mkdir(parents=True)
        for band in range(1, 32):
            values = random.integers(0, 65536, (32, 32), dtype=np.uint16)
            Image.fromarray(values).save(folder / f"{scene}_ms_{band:02d}.png")
    return root


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("degradation.scal", 2, "unknown key 'degradation.scal', did you mean 'scale'?"),
        ("dataset.name", "cvae", "Unknown dataset 'cvae'. Did you mean 'cave'?"),
    ],
)
def test_params_that_cannot_work(empty_project, complaint_of, key, value, message):
    path = empty_project / "params.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    group, _, name = key.partition(".")
    tree[group][name] = value
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert message in complaint_of("download", cwd=empty_project)
    assert published(empty_project) == []


def test_an_override_that_is_unknown_stops_before_anything_runs(empty_project, run):
    before = (empty_project / "params.yaml").read_bytes()
    done = run("-m", "tasks", "repro", "-S", "degradation.scal=2", cwd=empty_project)
    assert done.returncode == 1
    assert "did you mean 'scale'?" in complaint(done.stderr)
    assert done.stdout == ""
    assert (empty_project / "params.yaml").read_bytes() == before


def test_a_scene_with_an_infinite_value_is_named_with_its_band(empty_project, complaint_of, monkeypatch):
    read = Dataset.read

    def damaged(self, path):
        cube = read(self, path).copy(deep=True)
        if "synthetic_02" in path.name:
            cube[3, 5, 7] = np.inf
        return cube

    # No data set that is here can hold one: neither what is generated nor a PNG.
    monkeypatch.setattr(Dataset, "read", damaged)
    message = complaint_of("download", cwd=empty_project)
    assert "synthetic_02" in message
    assert "1 infinite value" in message
    assert "band 4 (657.143 nm) of 8" in message
    assert published(empty_project) == []


@pytest.mark.parametrize(
    ("damage", "parts"),
    [("dead", ("440 nm", "'b'")), ("truncated", ("b_ms_05.png",)), ("missing", ("'b'", "missing: 5"))],
)
def test_a_damaged_cave_scene_is_named(empty_project, complaint_of, cave, damage, parts):
    band = cave / "b_ms" / "b_ms_05.png"
    if damage == "dead":
        Image.fromarray(np.full((32, 32), 7, np.uint16)).save(band)
    elif damage == "truncated":
        band.write_bytes(band.read_bytes()[:500])
    else:
        band.unlink()
    dvc.set_params(empty_project, ["dataset.name=cave", f"dataset.root={cave}"])
    message = complaint_of("download", cwd=empty_project)
    for part in parts:
        assert part in message
    assert published(empty_project) == []


@pytest.fixture
def site(tmp_path):
    """A web server on this machine; gives the folder that it serves and its address."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_with_another_sha256_is_not_kept(empty_project, complaint_of, site, tmp_path, monkeypatch):
    folder, address = site
    (folder / "scenes.zip").write_bytes(b"not what was promised")
    archive = Archive(url=f"{address}/scenes.zip", sha256="0" * 64, size_bytes=100)
    monkeypatch.setattr(cave_module, "CAVE", replace(cave_module.CAVE, archives=(archive,)))
    monkeypatch.setenv("HSIPIPE_CACHE", str(tmp_path / "cache"))
    dvc.set_params(empty_project, ["dataset.name=cave"])
    message = complaint_of("download", cwd=empty_project)
    got = hashlib.sha256(b"not what was promised").hexdigest()
    assert f"has sha256 {got}, expected {'0' * 64}" in message
    assert published(empty_project) == []
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".lock"]


@pytest.mark.parametrize(
    ("stage", "item", "overrides", "parts"),
    [
        ("degrade", "", ["degradation.scale=3", "patches.size=15", "patches.stride=15"], ["32", "3"]),
        ("train_gae", "standard", ["gae.standard.n_subs=9"], ["8 bands", "n_subs"]),
    ],
)
def test_what_does_not_fit_the_data_leaves_the_old_output_alone(
    own_project, complaint_of, stage, item, overrides, parts
):
    before = {path: path.stat().st_mtime_ns for path in published(own_project)}
    dvc.set_params(own_project, overrides)
    message = complaint_of(stage, item, cwd=own_project)
    for part in parts:
        assert part in message
    assert {path: path.stat().st_mtime_ns for path in published(own_project)} == before


# A data set that is known and whose folder is not there: found by the stage itself.
NOWHERE = ("-S", "dataset.name=cave", "-S", "dataset.root=nowhere")


def test_a_name_that_is_unknown_leaves_params_yaml_alone(empty_project, run):
    before = (empty_project / "params.yaml").read_text(encoding="utf-8")
    done = run("-m", "flows", "pipeline", "-S", "dataset.name=cvae", cwd=empty_project)
    assert done.returncode == 1
    assert "Did you mean 'cave'?" in complaint(done.stderr)
    assert (empty_project / "params.yaml").read_text(encoding="utf-8") == before


@pytest.mark.xdist_group("servers")
def test_a_failing_stage_fails_the_flow_with_its_own_message(empty_project, run, prefect_api):
    import httpx

    env = {"PREFECT_API_URL": prefect_api}
    done = run("-m", "flows", "pipeline", *NOWHERE, cwd=empty_project, env=env)
    own = "nowhere"
    assert done.returncode == 1
    assert own in complaint(done.stderr)
    assert "Traceback" not in done.stdout
    assert published(empty_project) == []
    query = {"flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}}
    failed = httpx.post(f"{prefect_api}/flow_runs/filter", json=query, timeout=10).json()
    assert any(own in run["state"]["message"] for run in failed)


def test_a_failing_stage_fails_the_command_with_its_own_message(empty_project, run):
    dvc.set_params(empty_project, NOWHERE[1::2])
    done = run("-m", "tasks", "repro", cwd=empty_project)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: The pipeline stopped: ")
    assert "nowhere" in last
    assert published(empty_project) == []
