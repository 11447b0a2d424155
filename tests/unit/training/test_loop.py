"""The loop on a small regression: resume, EMA, best checkpoint, failure."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from hsipipe.errors import ParamsError, TrainingError, TrainingPausedError
from hsipipe.params import HardwareParams, OptimizerParams
from hsipipe.training.deadline import STOP_AFTER, Deadline
from hsipipe.training.loop import fit, generator_for
from hsipipe.training.schedule import learning_rate
from hsipipe.training.state import RESUME

PARAMS = OptimizerParams(
    steps=12, batch=4, lr=0.01, weight_decay=0.0, warmup=2, ema=0.9, validate_every=3, patience=0, save_every=4
)
HARDWARE = HardwareParams(accelerator="cpu", precision="32-true", compile=False, devices=1)


class Line:
    """Fit y = 2 x with dropout on the way, so that the global generator matters."""

    seed = 5

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at

    def loss(self, module, step, part):
        if step == self.stop_at:
            os.kill(os.getpid(), signal.SIGKILL)
        x = torch.randn(8, 4, generator=generator_for(self.seed, step))
        return (module(x) - 2 * x).square().mean()

    def validate(self, module):
        x = torch.ones(1, 4)
        return {"val_db": -float((module(x) - 2 * x).square().mean())}


class Told(Line):
    """Validations that are known beforehand."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self._values = iter(values)

    def validate(self, module):
        return {"val_db": next(self._values)}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.3), nn.Linear(16, 4))


def still_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4))


def train(
    work: Path, task: Line, log=lambda step, metrics: None, *, params=PARAMS, hardware=HARDWARE, module=None, **more
):
    how = {"params": params, "hardware": hardware, "work": work, "log": log, "description": "line", **more}
    return fit(module or network(), task, **how)


def test_killed_training_ends_with_the_same_bits(tmp_path):
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    undisturbed.mkdir()
    killed.mkdir()
    expected = train(undisturbed, Line())
    # The child dies by SIGKILL in step 10, after the resume point of step 8 and the validation of step 9.
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path; "
        f"import test_loop; test_loop.train(Path({str(killed)!r}), test_loop.Line(stop_at=10))"
    )
    child = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    resumed = train(killed, Line())
    assert resumed.resumed_at == 8
    assert (resumed.best_step, resumed.best_value) == (expected.best_step, expected.best_value)
    assert all(torch.equal(resumed.weights[name], tensor) for name, tensor in expected.weights.items())


def test_a_training_stopped_at_its_time_limit_ends_with_the_same_bits(tmp_path, monkeypatch):
    whole, pieces = tmp_path / "a", tmp_path / "b"
    whole.mkdir()
    pieces.mkdir()
    expected = train(whole, Line())
    past = Deadline(minutes=30, at=0)
    for step in (1, 2):  # between two regular resume points and before the first validation
        with pytest.raises(
            TrainingPausedError, match=rf"^stopped after 30 minutes at step {step} of 12; give the same"
        ):
            train(pieces, Line(), deadline=past)
    monkeypatch.setenv(STOP_AFTER, "1e-9")
    with pytest.raises(TrainingPausedError, match="stopped after 1e-09 minutes at step 3 of 12"):
        train(pieces, Line())
    monkeypatch.setenv(STOP_AFTER, "30")
    resumed = train(pieces, Line())
    assert (resumed.resumed_at, resumed.steps) == (3, 12)
    assert (resumed.best_step, resumed.best_value) == (expected.best_step, expected.best_value)
    assert all(torch.equal(resumed.weights[name], tensor) for name, tensor in expected.weights.items())


def test_a_training_in_its_last_step_is_complete_whatever_the_time(tmp_path):
    with pytest.raises(TrainingPausedError):
        train(tmp_path, Line(), params=PARAMS.model_copy(update={"steps": 2}), deadline=Deadline(minutes=1, at=0))
    result = train(tmp_path, Line(), params=PARAMS.model_copy(update={"steps": 2}), deadline=Deadline(minutes=1, at=0))
    assert result.steps == 2


def test_a_deadline_can_end_a_training_with_its_best_weights(tmp_path):
    rows = []
    result = train(tmp_path, Line(), deadline=Deadline.ending_in(-1), log=lambda step, row: rows.append((step, row)))
    assert (result.steps, [step for step, _ in rows]) == (1, [0, 1])
    assert result.best_value == max(row["val_db"] for _, row in rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["0", "-3", "soon", "inf", "nan"])
def test_a_time_limit_that_is_no_positive_number_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.setenv(STOP_AFTER, text)
    with pytest.raises(ParamsError, match=f"The time limit is '{text}' minutes, expected a positive number"):
        train(tmp_path, Line())


def test_history_is_told_again_after_a_resume(tmp_path):
    first, second = [], []
    train(tmp_path, Line(), lambda step, metrics: first.append((step, dict(metrics))))
    train(tmp_path, Line(), lambda step, metrics: second.append((step, dict(metrics))))
    assert [step for step, _ in first] == [0, 3, 6, 9, 12]
    assert second == first


def test_a_broken_resume_point_means_a_fresh_start(tmp_path):
    expected = train(tmp_path, Line())
    (tmp_path / RESUME).write_bytes((tmp_path / RESUME).read_bytes()[:100])
    again = train(tmp_path, Line())
    assert again.resumed_at == 0
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in expected.weights.items())


def test_the_best_validation_is_kept(tmp_path):
    result = train(tmp_path, Told(0.5, 1.0, 3.0, 2.5, 2.0))
    assert (result.best_step, result.best_value) == (6, 3.0)
    assert (len(result.collapses), result.skipped, result.fault) == (0, 0, "")


def test_a_training_that_only_harms_keeps_its_start_and_says_so(tmp_path):
    result = train(tmp_path, Told(5.0, *[4.0, 3.0, 2.0] * 3))
    assert (result.best_step, len(result.collapses), result.steps) == (0, 2, 9)
    assert result.fault == "collapsed at step 9 after 2 restarts: no validation was above that of the start (5)"


def test_a_short_training_that_ends_at_its_start_says_so(tmp_path):
    result = train(tmp_path, Told(5.0, 4.0, 3.0), params=PARAMS.model_copy(update={"steps": 6}))
    assert (result.best_step, len(result.collapses)) == (0, 0)
    assert result.fault == "no validation was above that of the untrained start"
    assert all(torch.equal(result.weights[name], tensor) for name, tensor in network().state_dict().items())


def test_a_flipped_bit_in_a_resume_point_is_named_and_means_a_fresh_start(tmp_path, caplog):
    expected = train(tmp_path, Line())
    content = bytearray((tmp_path / RESUME).read_bytes())
    content[-3] ^= 1  # in the last tensor: the file can be read as before
    (tmp_path / RESUME).write_bytes(content)
    again = train(tmp_path, Line())
    assert again.resumed_at == 0
    assert f"{tmp_path / RESUME} is damaged (its bytes are not those that were written)" in caplog.text
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in expected.weights.items())


def test_a_loss_that_is_not_finite_stops_with_advice_and_keeps_the_resume_point(tmp_path):
    class Exploding(Line):
        def loss(self, module, step, part):
            return super().loss(module, step, part) * (float("nan") if step >= 6 else 1)

    with pytest.raises(TrainingError, match=r"loss is not finite at step 10; lower optimizer.lr"):
        train(tmp_path, Exploding())
    assert (tmp_path / RESUME).is_file()


def test_a_single_loss_that_is_not_finite_is_skipped_and_counted(tmp_path):
    class Once(Line):
        def loss(self, module, step, part):
            return super().loss(module, step, part) * (float("nan") if step == 6 else 1)

    result = train(tmp_path, Once())
    assert (result.skipped, len(result.collapses), result.steps, result.fault) == (1, 0, 12, "")
    assert all(tensor.isfinite().all() for tensor in result.weights.values())


LONGER = PARAMS.model_copy(update={"steps": 24})


class Dying(Line):
    """The network is destroyed in step 10, 13, ..., as often as told; files count, so that a new process knows."""

    def __init__(self, marks: Path, times: int, stop_at: int | None = None) -> None:
        super().__init__(stop_at)
        self._marks, self._times = marks, times

    def loss(self, module, step, part):
        done = len(list(self._marks.iterdir()))
        if step >= 10 and step % 3 == 1 and done < self._times:
            (self._marks / str(done)).touch()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.mul_(-30)
        return super().loss(module, step, part)


def dying(tmp_path: Path, name: str, times: int, **more) -> Dying:
    (tmp_path / name).mkdir()
    return Dying(tmp_path / name, times, **more)


def test_a_collapsed_training_goes_back_to_its_best_step_with_half_the_rate(tmp_path, caplog):
    caplog.set_level("INFO")
    logged = []
    task = dying(tmp_path, "marks", times=1)
    result = train(tmp_path, task, lambda step, metrics: logged.append((step, metrics["val_db"])), params=LONGER)
    assert (len(result.collapses), result.fault, result.steps, result.best_step) == (1, "", 24, 24)
    assert [step for step, _ in logged] == [0, 3, 6, 9, 12, 15, 15, 18, 21, 24]
    assert logged[5][1] < logged[0][1] < logged[3][1] < logged[-1][1]
    assert "collapsed at step 15 (the validation fell from" in caplog.text
    assert "goes on from step 12 with half the learning rate" in caplog.text


def test_a_training_that_collapses_again_and_again_keeps_its_best_step_and_says_so(tmp_path):
    result = train(tmp_path, dying(tmp_path, "marks", times=9), params=LONGER)
    assert len(result.collapses) == 2
    assert result.collapses[0].startswith("step 15: the validation fell from")
    assert f"collapsed at step {result.steps} after 2 restarts: the validation fell from" in result.fault
    assert result.best_step < result.steps


def test_a_training_killed_after_a_collapse_ends_with_the_same_bits(tmp_path):
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    undisturbed.mkdir()
    killed.mkdir()
    expected = train(undisturbed, dying(tmp_path, "marks-a", times=1), params=LONGER)
    task = dying(tmp_path, "marks-b", times=1)

    def interrupt(step, metrics):
        if step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(killed, task, interrupt, params=LONGER)
    resumed = train(killed, task, params=LONGER)
    assert (resumed.resumed_at, len(resumed.collapses), len(expected.collapses)) == (12, 1, 1)
    assert resumed.best_value == expected.best_value
    assert all(torch.equal(resumed.weights[name], tensor) for name, tensor in expected.weights.items())


def test_learning_rate_is_halved_by_each_restart_and_warms_up_again():
    assert learning_rate(8, PARAMS, restarts=1, since=6) == pytest.approx(learning_rate(8, PARAMS) / 2)
    assert learning_rate(6, PARAMS, restarts=2, since=6) == pytest.approx(learning_rate(6, PARAMS) / 8)


def test_learning_rate_warms_up_and_falls_to_nothing():
    rates = [learning_rate(step, PARAMS) for step in range(PARAMS.steps)]
    assert rates[0] == pytest.approx(PARAMS.lr / 2)
    assert max(rates) == rates[PARAMS.warmup] == PARAMS.lr
    assert rates[-1] < 0.1 * PARAMS.lr


IMPATIENT = PARAMS.model_copy(update={"patience": 2})


@pytest.mark.parametrize(
    ("values", "steps", "best"),
    [
        ([1.0, 3.0, 2.0, 2.5], 9, 3),
        ([1.0, 3.0, 2.0, 4.0, 2.0], 12, 9),
        ([float("nan"), 1.0, 0.0, 0.5], 9, 3),
    ],
)
def test_training_stops_when_validations_have_no_new_best_for_too_long(tmp_path, values, steps, best):
    result = train(tmp_path, Told(*values), params=IMPATIENT)
    assert (result.steps, result.best_step) == (steps, best)


def test_a_killed_training_stops_where_it_would_have_stopped(tmp_path):
    def interrupt(step, metrics):
        if step == 9:  # the last resume point is that of step 8
            raise KeyboardInterrupt

    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    undisturbed.mkdir()
    killed.mkdir()
    expected = train(undisturbed, Told(1.0, 3.0, 2.0, 2.5), params=IMPATIENT)
    with pytest.raises(KeyboardInterrupt):
        train(killed, Told(1.0, 3.0, 2.0, 2.5), interrupt, params=IMPATIENT)
    resumed = train(killed, Told(2.5), params=IMPATIENT)
    assert resumed.resumed_at == 8
    assert (resumed.steps, resumed.best_step) == (expected.steps, expected.best_step) == (9, 3)
    assert all(torch.equal(resumed.weights[name], tensor) for name, tensor in expected.weights.items())


def test_a_training_that_was_over_takes_no_further_step(tmp_path):
    params = IMPATIENT.model_copy(update={"save_every": 3})
    first = train(tmp_path, Told(1.0, 3.0, 2.0, 2.5), params=params)
    again = train(tmp_path, Told(), params=params)
    assert (again.resumed_at, again.steps, again.best_step) == (9, 9, 3)
    # The time of the steps is that of all who worked on them, and nobody did a second time.
    assert again.seconds == first.seconds > 0


def test_the_bar_shows_loss_and_validations_at_each_step(tmp_path, monkeypatch):
    notes, validations = [], []

    def advance(n=1, note="", *, notable=False):
        (validations if notable else notes).append((n, note))

    @contextmanager
    def bar(description, total):
        yield advance

    monkeypatch.setattr("hsipipe.training.loop.progress", bar)
    train(tmp_path, Told(1.0, 3.0, 2.0, 2.5, 2.5))
    assert [n for n, _ in notes] == [0, *[1] * 12]
    assert {note.split()[0] for _, note in notes[1:]} == {"loss"}
    assert len({note.split()[1] for _, note in notes[1:]}) == 12
    assert notes[1][1].endswith("val_db 1 (best 1 at step 0)")
    assert notes[7][1].endswith("val_db 2 (best 3 at step 3)")
    assert [n for n, _ in validations] == [0] * 5
    assert [note.rpartition("val_db ")[2] for _, note in validations] == ["1", "3", "2", "2.5", "2.5"]


# torch's own compiler imports what torch calls deprecated.
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
@pytest.mark.slow
def test_compiled_steps_are_those_of_the_network(tmp_path):
    plain, compiled = tmp_path / "a", tmp_path / "b"
    plain.mkdir()
    compiled.mkdir()
    expected = train(plain, Line(), module=still_network())
    hardware = HARDWARE.model_copy(update={"compile": True})
    result = train(compiled, Line(), module=still_network(), hardware=hardware)
    assert list(result.weights) == list(expected.weights)
    for name, tensor in expected.weights.items():
        torch.testing.assert_close(result.weights[name], tensor, rtol=0, atol=1e-5)
    resumed = train(compiled, Line(), module=still_network(), hardware=hardware)
    assert resumed.resumed_at == 12


@pytest.mark.parametrize(
    ("values", "best"), [([float("nan"), 1.0, 3.0, 2.0, 2.0], 3.0), ([1.0, 2.0, float("nan"), 1.0, 0.5], 2.0)]
)
def test_a_validation_that_is_not_finite_is_never_the_best(tmp_path, values, best):
    assert train(tmp_path, Told(*values)).best_value == best


def test_without_any_finite_validation_nothing_comes_out(tmp_path):
    class Blind(Line):
        def validate(self, module):
            return {"val_db": float("nan")}

    with pytest.raises(TrainingError, match="no validation gave a finite value"):
        train(tmp_path, Blind())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_a_clear_error(tmp_path):
    hardware = HardwareParams(accelerator="cuda", precision="32-true", compile=False, devices=1)
    with pytest.raises(ParamsError, match="torch sees no GPU here; set it to auto or cpu"):
        fit(network(), Line(), params=PARAMS, hardware=hardware, work=tmp_path, log=print, description="line")
