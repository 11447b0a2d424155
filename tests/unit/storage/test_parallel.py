import threading
from functools import partial

import pytest

from hsipipe.storage.parallel import run_all


def note(folder, number):
    (folder / f"{number}-{threading.current_thread().name}").touch()


def done(folder):
    return sorted(int(path.name.partition("-")[0]) for path in folder.iterdir())


def test_every_piece_runs_once(tmp_path):
    run_all([partial(note, tmp_path, number) for number in range(20)])
    assert done(tmp_path) == list(range(20))


def test_the_first_error_is_raised():
    def fail():
        raise ValueError("piece")

    with pytest.raises(ValueError, match="piece"):
        run_all([fail])


def test_pieces_go_to_the_cluster_that_the_environment_names(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50
    ) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        run_all([partial(note, tmp_path, number) for number in range(3)])
    assert done(tmp_path) == [0, 1, 2]
    assert all("Dask" in path.name for path in tmp_path.iterdir())
