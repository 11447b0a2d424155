"""The loop on a small regression: resume, EMA, best checkpoint, failure."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hsipipe.errors import ParamsError, TrainingError
from hsipipe.params import HardwareParams, OptimizerParams
from hsipipe.training.loop import fit, generator_for, learning_rate
from hsipipe.training.state import RESUME

PARAMS = OptimizerParams(steps=12, batch=4, lr=0.01, warmup=2, ema=0.9, validate_every=3, patience=0, save_every=4)
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


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.3), nn.Linear(16, 4))


def train(work: Path, task: Line, log=lambda step, metrics: None):
    return fit(network(), task, params=PARAMS, hardware=HARDWARE, work=work, log=log, description="line")


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
    class Worsening(Line):
        values = iter([0.5, 1.0, 3.0, 2.0, 0.0])

        def validate(self, module):
            return {"val_db": next(self.values)}

    result = train(tmp_path, Worsening())
    assert (result.best_step, result.best_value) == (6, 3.0)


def test_a_training_that_only_harms_keeps_its_start(tmp_path):
    class Falling(Line):
        values = iter([5.0, 4.0, 3.0, 2.0, 1.0])

        def validate(self, module):
            return {"val_db": next(self.values)}

    result = train(tmp_path, Falling())
    assert result.best_step == 0
    assert all(torch.equal(result.weights[name], tensor) for name, tensor in network().state_dict().items())


def test_a_loss_that_is_not_finite_stops_with_advice_and_keeps_the_resume_point(tmp_path):
    class Exploding(Line):
        def loss(self, module, step, part):
            return super().loss(module, step, part) * (float("nan") if step == 6 else 1)

    with pytest.raises(TrainingError, match=r"loss is nan at step 7; lower optimizer.lr"):
        train(tmp_path, Exploding())
    assert (tmp_path / RESUME).is_file()


def test_learning_rate_warms_up_and_falls_to_nothing():
    rates = [learning_rate(step, PARAMS) for step in range(PARAMS.steps)]
    assert rates[0] == pytest.approx(PARAMS.lr / 2)
    assert max(rates) == rates[PARAMS.warmup] == PARAMS.lr
    assert rates[-1] < 0.1 * PARAMS.lr


@pytest.mark.parametrize(
    ("values", "best"), [([float("nan"), 1.0, 3.0, 2.0, 2.0], 3.0), ([1.0, 2.0, float("nan"), 1.0, 0.5], 2.0)]
)
def test_a_validation_that_is_not_finite_is_never_the_best(tmp_path, values, best):
    class Shaky(Line):
        told = iter(values)

        def validate(self, module):
            return {"val_db": next(self.told)}

    assert train(tmp_path, Shaky()).best_value == best


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
