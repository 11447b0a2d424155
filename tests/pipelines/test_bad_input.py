"""Bad input gives one clear line and a non-zero exit, and publishes nothing."""

import hashlib
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from tasks import ledger

pytestmark = pytest.mark.slow

OUTPUTS = ("data", "models", "reports")

# Runs a stage with another CAVE archive, or with scenes that come out damaged: the real ones cannot be had here.
WRONG_ARCHIVE = """
import sys
from dataclasses import replace
import hsipipe.datasets.cave as cave
from hsipipe.datasets.download import Archive
cave.CAVE = replace(cave.CAVE, archives=(Archive(url=sys.argv[1], sha256="0" * 64, size_bytes=100),))
from tasks.__main__ import main
sys.exit(main(["download"]))
"""
NAN_SCENE = """
import sys
import numpy as np
from hsipipe.datasets.base import Dataset
read = Dataset.read
def with_nan(self, root, scene):
    cube = read(self, root, scene).copy(deep=True)
    if scene.endswith("2"):
        cube[3, 5, 7] = np.nan
    return cube
Dataset.read = with_nan
from tasks.__main__ import main
sys.exit(main(["download"]))
"""


@pytest.fixture
def empty_project(new_project, fresh_store, tmp_path):
    """A checkout in which nothing ran yet."""
    root = new_project(tmp_path / "hsipipe")
    shutil.copyfile(fresh_store, root / "mlflow.db")
    return root


def complaint(done):
    """The one line on stderr that says what is wrong."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
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
    ("stage", "line", "message"),
    [
        ("download", "degradation.scal: 2", "unknown key 'degradation.scal', did you mean 'scale'?"),
        ("download", "dataset.name: cvae", "Unknown dataset 'cvae'. Did you mean 'cave'?"),
        ("download", "dataset.name: cave\ndataset.root: /nowhere", "/nowhere"),
    ],
)
def test_params_that_cannot_work(empty_project, run, stage, line, message):
    import yaml

    path = empty_project / "params.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    for entry in line.splitlines():
        key, _, value = entry.partition(": ")
        group, _, name = key.partition(".")
        tree[group][name] = yaml.safe_load(value)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert message in complaint(run("-m", "tasks", stage, cwd=empty_project))
    assert published(empty_project) == []


def test_an_override_that_is_unknown_stops_before_anything_runs(empty_project, run):
    before = (empty_project / "params.yaml").read_bytes()
    done = run("-m", "tasks", "repro", "-S", "degradation.scal=2", cwd=empty_project)
    assert "did you mean 'scale'?" in complaint(done)
    assert done.stdout == ""
    assert (empty_project / "params.yaml").read_bytes() == before


def test_a_scene_with_nan_is_named_with_its_band(empty_project, run):
    message = complaint(run("-c", NAN_SCENE, cwd=empty_project))
    assert "synthetic_02" in message
    assert "NaN" in message
    assert "band 3" in message
    assert published(empty_project) == []


@pytest.mark.parametrize("damage", ["dead", "truncated", "missing"])
def test_a_damaged_cave_scene_is_named(empty_project, run, cave, damage):
    band = cave / "b_ms" / "b_ms_05.png"
    if damage == "dead":
        Image.fromarray(np.full((32, 32), 7, np.uint16)).save(band)
    elif damage == "truncated":
        band.write_bytes(band.read_bytes()[:500])
    else:
        band.unlink()
    ledger.set_params(empty_project, ["dataset.name=cave", f"dataset.root={cave}"])
    message = complaint(run("-m", "tasks", "download", cwd=empty_project))
    expected = {"dead": ("440", "'b'"), "truncated": ("b_ms_05.png",), "missing": ("'b'", "missing: 5")}
    for part in expected[damage]:
        assert part in message
    assert published(empty_project) == []


def test_a_download_with_another_sha256_is_not_kept(empty_project, run, tmp_path):
    site, cache = tmp_path / "site", tmp_path / "cache"
    site.mkdir()
    (site / "scenes.zip").write_bytes(b"not what was promised")
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        ledger.set_params(empty_project, ["dataset.name=cave"])
        url = f"http://127.0.0.1:{server.server_address[1]}/scenes.zip"
        env = {"HSIPIPE_CACHE": str(cache)}
        message = complaint(run("-c", WRONG_ARCHIVE, url, cwd=empty_project, env=env))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    got = hashlib.sha256(b"not what was promised").hexdigest()
    assert f"has sha256 {got}, expected {'0' * 64}" in message
    assert published(empty_project) == []
    assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("stage", "overrides", "parts"),
    [
        ("degrade", ["degradation.scale=3", "patches.size=15", "patches.stride=15"], ["32", "3"]),
        ("train_gae", ["gae.n_subs=9"], ["8 bands", "gae.n_subs"]),
    ],
)
def test_what_does_not_fit_the_data_leaves_the_old_output_alone(own_project, run, stage, overrides, parts):
    before = {path: path.stat().st_mtime_ns for path in published(own_project)}
    ledger.set_params(own_project, overrides)
    message = complaint(run("-m", "tasks", stage, cwd=own_project))
    for part in parts:
        assert part in message
    assert {path: path.stat().st_mtime_ns for path in published(own_project)} == before


def test_a_failing_stage_fails_the_flow_with_its_own_message(empty_project, run, prefect_api):
    import httpx

    env = {"PREFECT_API_URL": prefect_api}
    done = run("-m", "flows", "pipeline", "-S", "dataset.name=cvae", cwd=empty_project, env=env)
    own = "Unknown dataset 'cvae'. Did you mean 'cave'?"
    assert own in complaint(done)
    assert "Traceback" not in done.stdout
    assert published(empty_project) == []
    query = {"flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}}
    failed = httpx.post(f"{prefect_api}/flow_runs/filter", json=query, timeout=10).json()
    assert any(own in run["state"]["message"] for run in failed)


def test_a_failing_stage_fails_the_command_with_its_own_message(empty_project, run):
    ledger.set_params(empty_project, ["dataset.name=cvae"])
    done = run("-m", "tasks", "repro", cwd=empty_project)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: The pipeline stopped: Unknown dataset 'cvae'. Did you mean 'cave'? Known datasets: cave, synthetic."
    )
    assert published(empty_project) == []
