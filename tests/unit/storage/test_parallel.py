import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from dask.system import CPU_COUNT

from hsipipe.errors import UnreachableError
from hsipipe.storage.parallel import run_all, workers_within


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


@pytest.mark.parametrize(("held", "workers"), [(0, CPU_COUNT), (1, CPU_COUNT), (60, 1), (100, 1), (1000, 1)])
def test_large_pieces_are_worked_on_few_at_a_time(held, workers):
    assert workers_within(held, budget=100) == workers


def test_no_more_threads_than_fit():
    together, most, lock = set(), [], threading.Lock()

    def piece():
        with lock:
            together.add(threading.get_ident())
        most.append(len(together))

    run_all([piece] * 8, held_bytes=1 << 40)
    assert most == [1] * 8


def test_a_cluster_that_does_not_answer_is_one_line_in_a_notebook(monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    monkeypatch.setattr("hsipipe.storage.parallel._CONNECT_S", 0.1)

    async def cell():
        run_all([print])

    # In a thread: other tests may leave a running loop in this one, as a browser does.
    with ThreadPoolExecutor(1) as executor, pytest.raises(UnreachableError, match="No Dask scheduler answers"):
        executor.submit(lambda: asyncio.run(cell())).result()
