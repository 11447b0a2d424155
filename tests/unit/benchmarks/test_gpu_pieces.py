import json
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from hsipipe.errors import ParamsError
from hsipipe.params import OptimizerParams
from hsipipe.training.loop import fit, generator_for

STEPS, INTERVAL = 20, 4


class Line:
    """Fit a line; the batch of a step is a function of the step."""

    seed = 0

    def loss(self, module, step, *_):
        x = torch.rand(8, 2, generator=generator_for(0, step))
        return (module(x) - x.sum(dim=1, keepdim=True)).square().mean()

    def validate(self, module):
        x = torch.rand(8, 2, generator=generator_for(1, 0))
        return {"val_psnr_db": -float((module(x) - x.sum(dim=1, keepdim=True)).square().mean())}


@pytest.fixture
def train(make_params):
    def run(out, optimizer, work, log):
        torch.manual_seed(0)
        module = torch.nn.Linear(2, 1)
        hardware = make_params("hardware", accelerator="cpu", precision="32-true")
        result = fit(module, Line(), params=optimizer, hardware=hardware, work=work, log=log, description="line")
        save_file(result.weights, out / "weights.safetensors")
        return {"best_step": result.best_step}

    return run


@pytest.fixture
def optimizer(make_params):
    given = make_params("gae").optimizer.model_dump()
    every = {"steps": STEPS, "validate_every": INTERVAL, "save_every": INTERVAL}
    return OptimizerParams.model_validate({**given, **every, "lr": 0.05})


def _folder(path):
    path.mkdir(parents=True)
    return path


def _weights(folder):
    return {name: value.tolist() for name, value in load_file(folder / "weights.safetensors").items()}


def _training(folder, *, seconds_per_step):
    from trainings import Training

    return Training(folder, {"save_every": INTERVAL, "seconds_per_step": seconds_per_step})


def _go(training, train, out, optimizer, *, left=1000.0, told=lambda: None):
    return training.run(train, _folder(out), optimizer, deadline=time.time() + left, told=told)


def test_a_training_stops_after_a_resume_point_and_ends_with_the_bits_of_an_undisturbed_one(tmp_path, train, optimizer):
    from trainings import OutOfTimeError

    slow, quick = (_training(tmp_path / "resume", seconds_per_step=s) for s in (1e6, 1e-9))
    with pytest.raises(OutOfTimeError):  # no other interval would fit
        _go(slow, train, tmp_path / "first", optimizer)
    assert slow.saved_step == INTERVAL
    _go(quick, train, tmp_path / "second", optimizer)
    _go(_training(tmp_path / "other", seconds_per_step=1e-9), train, tmp_path / "whole", optimizer)
    assert _weights(tmp_path / "second") == _weights(tmp_path / "whole")


def test_the_curve_goes_on_over_the_pieces(tmp_path, train, optimizer):
    from trainings import OutOfTimeError

    training = _training(tmp_path / "resume", seconds_per_step=1e6)
    for piece in range(2):
        with pytest.raises(OutOfTimeError):
            _go(training, train, tmp_path / f"piece{piece}", optimizer)
    _go(_training(tmp_path / "resume", seconds_per_step=1e-9), train, tmp_path / "last", optimizer)
    assert [row["step"] for row in training.curve] == list(range(0, STEPS + 1, INTERVAL))
    seconds = [row["seconds"] for row in training.curve]
    assert seconds == sorted(seconds)
    assert all(row["seconds_per_step"] > 0 for row in training.curve)


def test_a_row_behind_the_resume_point_is_lost_with_its_steps(tmp_path, train, optimizer):
    training = _training(tmp_path / "resume", seconds_per_step=1e-9)

    def killed_before_it_is_saved():
        if training.curve[-1]["step"] == 2 * INTERVAL:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _go(training, train, tmp_path / "first", optimizer, told=killed_before_it_is_saved)
    assert (training.saved_step, training.curve[-1]["step"]) == (INTERVAL, 2 * INTERVAL)
    _go(training, train, tmp_path / "second", optimizer)
    assert [row["step"] for row in training.curve] == list(range(0, STEPS + 1, INTERVAL))


def test_nothing_is_begun_after_the_deadline(tmp_path, train, optimizer):
    from trainings import OutOfTimeError

    training = _training(tmp_path / "resume", seconds_per_step=1e-9)
    with pytest.raises(OutOfTimeError):
        _go(training, train, tmp_path / "out", optimizer, left=-1)
    assert training.saved_step == 0


def test_an_unfinished_training_has_a_checkpoint_and_is_not_changed_by_it(tmp_path, train, optimizer):
    from trainings import OutOfTimeError

    training = _training(tmp_path / "resume", seconds_per_step=1e6)
    with pytest.raises(OutOfTimeError):
        _go(training, train, tmp_path / "first", optimizer)
    so_many = optimizer.model_copy(update={"steps": training.saved_step})
    with training.so_far(train, so_many) as checkpoint:
        assert _weights(checkpoint)
    assert training.saved_step == INTERVAL


def test_the_plan_fills_the_time(train, optimizer):
    from trainings import VALIDATIONS, plan

    planned = plan(train, optimizer, seconds=1.0, deadline=time.time() + 1000, patience=0.0)
    assert planned["steps"] == VALIDATIONS * planned["validate_every"]
    expected = 1.0 / planned["seconds_per_step"]
    assert planned["steps"] == pytest.approx(expected, abs=VALIDATIONS)


@pytest.fixture
def options(tmp_path, cave_folder):
    import cave
    from packing import pack

    pack(cave_folder[0], tmp_path / "packed")

    def make(*more, left=1000.0):
        words = [f"--data={tmp_path / 'packed'}", f"--work={tmp_path / 'work'}", f"--json={tmp_path / 'record.json'}"]
        rest = ["--tiny", "--train-seconds=0.05", "--only=dmgasr-fast", f"--child={time.time() + left}"]
        return cave.parse([*words, *rest, "--reserve-seconds=0", *more])

    return make


def test_pieces_make_one_record_and_a_finished_one_does_nothing_again(tmp_path, options, capsys):
    from piece import run_piece

    assert run_piece(options(left=-1)) == 1
    assert "give it more with --budget-minutes" in capsys.readouterr().out
    assert run_piece(options()) == 0
    assert run_piece(options()) == 0
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["done"]
    assert record["what"].startswith("TINY")
    assert [bool(piece["did"]) for piece in record["pieces"]] == [False, True, False]
    assert set(record["models"]["dmgasr-fast"]["tests"]) == {"bicubic", "regression", "dmgasr"}
    control = record["models"]["pca-residual"]["tests"]["pca-residual"]
    assert control["steps"] == control["of_steps"]
    assert control["mpsnr_db"] > 0


def test_a_work_folder_is_for_one_set_of_options(options):
    from piece import run_piece

    run_piece(options(left=-1))
    with pytest.raises(ParamsError, match="take another --work"):
        run_piece(options("--train-seconds=2", left=-1))
