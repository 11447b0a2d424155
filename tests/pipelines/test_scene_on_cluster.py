"""A scene on a Dask cluster of two processes: the bits of one process; a worker that dies costs its shard."""

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial

import dask.array as da
import numpy as np
import pytest
from distributed import LocalCluster
from dying_model import Dying, always_dying, failing, times
from small_network import small_network

import hsipipe.inference.plan
from hsipipe.commands.predict_file import predict_file
from hsipipe.errors import AlreadyRunningError, HsipipeError, ParamsError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.base import make_cube
from hsipipe.formats.regrid import refine
from hsipipe.inference.on_cluster import run_on_cluster
from hsipipe.inference.plan import Plan
from hsipipe.inference.run import WindowPrediction
from hsipipe.inference.sink import open_sink
from hsipipe.inference.source import survey
from hsipipe.inference.statistics import Statistic
from hsipipe.storage.parallel import cluster
from hsipipe.storage.publish import publish, unfinished

pytestmark = pytest.mark.slow
TILES = {"tile": 12, "overlap": 3, "full_scale": 1000.0}
PLAN = Plan(40, 50, 12, 3, (16, 24))


@pytest.fixture(scope="module")
def two_workers():
    """Address of a cluster of two processes with a thread each."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as workers:
        yield workers.scheduler_address


@pytest.fixture
def on_two(two_workers, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", two_workers)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a small network."""
    with publish(tmp_path_factory.mktemp("model") / "net") as out:
        small_network().save(out)
    return out.parent / "net"


def scene(holes=0.0):
    rng = np.random.default_rng(0)
    values = 1000 * rng.random((4, 40, 50), dtype=np.float32)
    values[1, rng.random((40, 50)) < holes] = np.nan
    return make_cube(da.from_array(values, chunks=(4, 13, -1)))


@pytest.mark.parametrize("suffix", [".zarr", ".tif"])
def test_two_processes_write_the_bytes_of_one(tmp_path, model, on_two, monkeypatch, capsys, suffix):
    monkeypatch.setattr(hsipipe.inference.plan, "_SHARD_BYTES", 4 * 4 * 32**2)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    save_cube(scene(holes=0.02), tmp_path / "lr.nc")
    monkeypatch.chdir(tmp_path)
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    predict_file(tmp_path / "lr.nc", two, model=str(model), **TILES)
    told = capsys.readouterr().err
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS")
    predict_file(tmp_path / "lr.nc", one, model=str(model), **TILES)
    assert capsys.readouterr().err == told
    files = [path.relative_to(one) for path in one.rglob("*")] if suffix == ".zarr" else ["."]
    assert len(files) > 12 or suffix != ".zarr"
    for name in files:
        if (one / name).is_file():
            assert (one / name).read_bytes() == (two / name).read_bytes(), name


def work_of(sink, model):
    source = survey(scene(), "scene", full_scale=1000.0, example="")
    return WindowPrediction(model, source, sink, PLAN, [Statistic("mean")], None, True)


def opened(target):
    cube = scene()
    place = {"wrap": lambda values: refine(cube, values, scale=2), "bands": 4, "scale": 2, "provenance": {}}
    return open_sink([target], PLAN, made_of={}, **place)


def test_a_killed_worker_costs_its_shard(tmp_path, on_two):
    target = tmp_path / "hr.zarr"
    records = unfinished(target) / "done"
    model = Dying(tmp_path / "flag", (28, 38), records)
    with opened(target) as sink, cluster() as client:
        sink.create()
        run_on_cluster(client, work_of(sink, model), partial(Dying, model.flag, model.at, records), side_by_side=1)
        before = json.loads(model.flag.read_text())
        assert before
        assert before.items() <= times(records).items()
        assert not sink.missing
        sink.publish()
    with opened(tmp_path / "plain.zarr") as sink:
        sink.create()
        work_of(sink, model).run(side_by_side=1)
        sink.publish()
    np.testing.assert_array_equal(open_cube(target), open_cube(tmp_path / "plain.zarr"))


def test_an_error_of_a_worker_is_that_of_the_command(tmp_path, on_two):
    with opened(tmp_path / "hr.zarr") as sink, cluster() as client:
        sink.create()
        work = work_of(sink, Dying(tmp_path / "flag", (99, 99), tmp_path))
        with pytest.raises(ValueError, match="no model for cpu"):
            run_on_cluster(client, work, failing, side_by_side=1)
        with pytest.raises(HsipipeError, match=r"has ended 4 workers.*--memory-limit"):
            run_on_cluster(client, work, always_dying, side_by_side=1)


def test_a_worker_with_a_gpu_loads_the_model_there(tmp_path, monkeypatch):
    more = {"processes": False, "dashboard_address": ":0", "silence_logs": 50}
    with LocalCluster(n_workers=1, threads_per_worker=1, resources={"GPU": 1}, **more) as workers:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", workers.scheduler_address)
        with opened(tmp_path / "hr.zarr") as sink, cluster() as client:
            sink.create()
            with pytest.raises(ValueError, match="no model for cuda"):
                run_on_cluster(client, work_of(sink, Dying(tmp_path, (0, 0), tmp_path)), failing, side_by_side=1)


def test_workers_of_an_earlier_run_write_nothing_more(tmp_path):
    target = tmp_path / "hr.zarr"
    image = np.zeros((4, 32, 48), np.float32)
    with suppress(KeyboardInterrupt), opened(target) as sink:
        sink.create()
        late = sink.shared()
        late.write(PLAN.shards[0], [image], None)
        raise KeyboardInterrupt
    with opened(target) as sink:
        with pytest.raises(AlreadyRunningError, match="another run of the command writes the result"):
            late.write(PLAN.shards[1], [image], None)
        assert sink.missing == set(PLAN.shards[1:])


@pytest.mark.parametrize(
    ("source", "target", "told"), [(".npz", ".zarr", "is read whole"), (".nc", ".npy", "hr.npy is one file")]
)
def test_what_a_cluster_cannot_share_is_refused(tmp_path, model, on_two, source, target, told):
    values = scene().to_numpy()
    np.savez(tmp_path / "lr.npz", values) if source == ".npz" else save_cube(scene(), tmp_path / "lr.nc")
    with pytest.raises(ParamsError, match=told):
        predict_file(tmp_path / f"lr{source}", tmp_path / f"hr{target}", model=str(model), **TILES)
    assert [path.name for path in tmp_path.iterdir()] == [f"lr{source}"]


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path, model, repository):
    save_cube(scene(), tmp_path / "lr.nc")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # no server answers there
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "flows", "predict", tmp_path / "lr.nc", tmp_path / "hr.zarr", "--model", model]
        done = subprocess.run(
            [*command, "--full-scale", "1000"],
            cwd=repository,
            env={**os.environ, "DASK_SCHEDULER_ADDRESS": address},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: No Dask scheduler answers at DASK_SCHEDULER_ADDRESS={address}: ")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["lr.nc"]
