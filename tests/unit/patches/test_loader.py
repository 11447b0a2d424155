import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch

from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.errors import IntegrityError
from hsipipe.patches.loader import PatchDataset, StepBatches, StepSampler, make_loader
from hsipipe.patches.sampler import batch_samples


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_batches_are_the_samplers_patches_as_tensors(store):
    batches = list(make_loader(store, ("hr", "lr"), batch=4, seed=1, first_step=3, steps=6))
    assert len(batches) == 6
    for step, batch in enumerate(batches, start=3):
        samples = batch_samples(18, 4, seed=1, step=step)
        expected = PatchArrays(store).read(samples.index, codes=samples.code)
        assert {name: tensor.dtype for name, tensor in batch.items()} == {"hr": torch.float32, "lr": torch.float32}
        for name, tensor in batch.items():
            assert tensor.is_contiguous()
            np.testing.assert_array_equal(tensor.numpy(), expected[name])


def test_without_augmentation(store):
    loader = make_loader(store, ("hr",), batch=4, seed=1, steps=1, augment=False)
    assert len(loader) == 1
    expected = PatchArrays(store).read(batch_samples(18, 4, seed=1, step=0).index)["hr"]
    np.testing.assert_array_equal(next(iter(loader))["hr"].numpy(), expected)


def test_one_patch_of_the_dataset(store):
    dataset = PatchDataset(store, ("lr",))
    assert len(dataset) == 18
    assert equal(dataset[5, 0], {"lr": torch.from_numpy(PatchArrays(store).read([5])["lr"][0])})


def test_a_sampler_starts_anew_and_need_not_end():
    endless = StepSampler(10, 4, seed=0, first_step=2)
    first, second = (next(iter(endless)) for _ in range(2))
    assert first == second
    with pytest.raises(TypeError, match="unlimited"):
        len(endless)
    assert len(list(StepSampler(10, 4, seed=0, steps=3))) == 3


def test_batches_by_step_in_any_order(store):
    batches = StepBatches(store, ("hr", "lr"), batch=4, seed=0)
    first = [batches.at(step) for step in range(7)]
    for step in (6, 2, 3, 0):
        assert equal(batches.at(step), first[step])
    assert equal(StepBatches(store, ("hr", "lr"), batch=4, seed=0).at(5), first[5])


def test_the_global_generator_is_left_alone(store):
    """Otherwise dropout after a resume would differ from that of a training without one."""
    before = torch.get_rng_state()
    StepBatches(store, ("hr",), batch=4, seed=0).at(3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
def test_the_workers_change_nothing(store):
    options = {"batch": 4, "seed": 0, "first_step": 2, "steps": 5}
    alone = list(make_loader(store, ("hr", "lr"), **options))
    loader = make_loader(store, ("hr", "lr"), **options, workers=2)
    for _ in range(2):  # the workers stay for the second round
        together = list(loader)
        assert len(together) == len(alone)
        assert all(equal(a, b) for a, b in zip(alone, together, strict=True))
        assert all(tensor.is_contiguous() for batch in together for tensor in batch.values())


@pytest.mark.slow
def test_damage_that_a_worker_meets_names_the_file(store):
    shard = store / "hr" / "c" / "1" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[50] ^= 4
    shard.write_bytes(content)
    with pytest.raises(IntegrityError, match="hr/c/1/0/0/0"):
        list(make_loader(store, ("hr",), batch=18, seed=0, steps=1, workers=1))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_workers_end_with_a_parent_that_is_killed(store):
    code = (
        "import sys; from pathlib import Path; from hsipipe.patches.loader import make_loader\n"
        "batches = iter(make_loader(Path(sys.argv[1]), ('hr',), batch=4, seed=0, workers=1))\n"
        "next(batches); print('busy', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "busy\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
