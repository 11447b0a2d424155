"""A resume point that cannot be written leaves the last one, and nothing that takes space."""

import errno

import pytest
import torch

from hsipipe.training import state
from hsipipe.training.state import RESUME, Progress, load_resume, save_resume


def test_a_full_disk_keeps_the_last_resume_point_and_no_part_of_the_next(tmp_path, monkeypatch):
    module = torch.nn.Linear(2, 2)
    opt = torch.optim.SGD(module.parameters(), lr=0.1)

    def save(step):
        save_resume(tmp_path, progress=Progress(step), tensors={"model": module.state_dict()}, opt=opt)

    def fill_the_disk(_tensors, path, **_):
        path.write_bytes(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    save(1)
    with monkeypatch.context() as patch:
        patch.setattr(state, "save_file", fill_the_disk)
        with pytest.raises(OSError, match="No space left"):
            save(2)
    assert [path.name for path in tmp_path.iterdir()] == [RESUME]
    progress, _, _ = load_resume(tmp_path)
    assert progress.step == 1
