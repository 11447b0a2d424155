"""Trainings whose batches are shared by two real processes on this machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from hsipipe.errors import DataError, ParamsError, TrainingError, TrainingPausedError
from hsipipe.training.deadline import Deadline
from hsipipe.training.state import RESUME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def lines():
    """The task; the processes find its module by the same path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        import lines

        yield lines


@pytest.fixture(scope="module")
def undisturbed(lines, tmp_path_factory):
    """A training in two processes, and what it told."""
    rows = []
    fit = lines.train(
        tmp_path_factory.mktemp("two"),
        lines.Line(),
        devices=2,
        # What cannot be pickled shows that it is called in this process.
        log=lambda step, metrics: rows.append((step, metrics)),
    )
    return fit, rows


def test_two_processes_stop_at_their_time_limit_together_and_resume(lines, undisturbed, tmp_path):
    with pytest.raises(TrainingPausedError, match="stopped after 30 minutes at step 1 of 12"):
        lines.train(tmp_path, lines.Line(), devices=2, deadline=Deadline(minutes=30, at=0))
    resumed = lines.train(tmp_path, lines.Line(), devices=2)
    assert resumed.resumed_at == 1
    assert all(torch.equal(resumed.weights[name], tensor) for name, tensor in undisturbed[0].weights.items())


def test_two_processes_make_the_steps_of_one_and_tell_their_parent(lines, undisturbed, tmp_path):
    alone = []
    one = lines.train(tmp_path, lines.Line(), devices=1, log=lambda step, metrics: alone.append((step, metrics)))
    two, shared = undisturbed
    assert (one.best_step, one.steps) == (two.best_step, two.steps)
    for name, tensor in one.weights.items():
        torch.testing.assert_close(two.weights[name], tensor, rtol=0, atol=1e-6)
    assert [step for step, _ in shared] == [step for step, _ in alone] == [0, 3, 6, 9, 12]
    for (_, expected), (_, metrics) in zip(alone, shared, strict=True):
        assert metrics == pytest.approx(expected, abs=1e-5)


def test_a_killed_training_leaves_nobody_behind_and_goes_on_with_the_same_bits(lines, undisturbed, tmp_path):
    # Told of step 9, after the resume point of step 8, the parent waits to be killed; so do its children, in step 10.
    code = (
        "import sys, time; from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    import lines\n"
        "    def log(step, metrics):\n"
        "        if step == 9: print('there', flush=True); time.sleep(3600)\n"
        "    lines.train(Path(sys.argv[1]), lines.Line(stop_at=10), devices=2, log=log)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}) as parent:
        assert parent.stdout.readline() == "there\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        os.kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    resumed = lines.train(tmp_path, lines.Line(), devices=2)
    assert resumed.resumed_at == 8
    assert all(torch.equal(resumed.weights[name], tensor) for name, tensor in undisturbed[0].weights.items())


def test_a_process_that_dies_ends_the_training_with_its_name(lines, tmp_path):
    with pytest.raises(TrainingError, match=r"Training process 1 of 2 was ended by SIGKILL.*resume point is kept"):
        lines.train(tmp_path, lines.Line(die_at=6, die_in=1), devices=2)
    assert (tmp_path / RESUME).is_file()
    assert not training_processes()


def test_what_one_process_finds_wrong_is_what_the_parent_raises(lines, tmp_path):
    with pytest.raises(DataError, match=r"^Dead band\.$"):
        lines.train(tmp_path, lines.Line(bad_data_at=1), devices=2)


def test_a_parent_that_is_interrupted_ends_its_processes_at_once(lines, tmp_path):
    def interrupt(step, metrics):
        assert len(training_processes()) == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lines.train(tmp_path, lines.Line(stop_at=0), devices=2, log=interrupt)
    assert not training_processes()


def test_a_loss_that_is_not_finite_in_one_process_stops_all(lines, tmp_path):
    with pytest.raises(TrainingError, match=r"loss is not finite at step 10; lower optimizer.lr"):
        lines.train(tmp_path, lines.Line(nan_at=6), devices=2)


def test_all_processes_go_back_after_a_collapse(lines, tmp_path):
    results, longer = [], lines.PARAMS.model_copy(update={"steps": 24})
    for devices in (1, 2):
        work, marks = tmp_path / f"work-{devices}", tmp_path / f"marks-{devices}"
        work.mkdir()
        marks.mkdir()
        results.append(lines.train(work, lines.Line(ruin=marks), devices=devices, params=longer))
    one, two = results
    assert (len(one.collapses), one.best_step) == (len(two.collapses), two.best_step) == (1, 24)
    assert two.best_value == pytest.approx(one.best_value, rel=1e-4)
    for name, tensor in one.weights.items():
        torch.testing.assert_close(two.weights[name], tensor)


def test_only_this_machine_can_reach_a_training(lines, tmp_path):
    seen = set()

    def look(step, metrics):
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            listening = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
            seen.update(connection.laddr.ip for connection in listening)

    lines.train(tmp_path, lines.Line(), devices=2, log=look)
    assert seen == {"127.0.0.1"}


def test_a_batch_that_cannot_be_shared_is_a_clear_error(lines, tmp_path):
    with pytest.raises(
        ParamsError,
        match=r"A batch of 12 patches cannot be shared evenly by 5 processes; make optimizer.batch a multiple of "
        r"hardware.devices, such as 15\.",
    ):
        lines.train(tmp_path, lines.Line(), devices=5)


def training_processes():
    """Children of this process that a training has spawned."""
    children = psutil.Process().children()
    return [child for child in children if "spawn_main" in _command(child)]


def _command(child):
    try:
        return " ".join(child.cmdline())
    except psutil.Error:  # it has ended since, and nobody has asked for its exit code yet
        return ""
