"""Two batches at once share the scenes; a killed one leaves no product twice and none without its record."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from hsipipe.formats import save_cube
from hsipipe.formats.base import make_cube
from hsipipe.methods.bicubic import Bicubic
from hsipipe.storage.publish import publish

pytestmark = pytest.mark.slow
NAMES = [f"s{number}" for number in range(5)]


@pytest.fixture
def start(tmp_path, repository):
    """``start()`` begins a batch of five scenes and a broken one."""
    (tmp_path / "scenes").mkdir()
    for number, name in enumerate(NAMES):
        values = np.random.default_rng(number).random((4, 24, 24), dtype=np.float32)
        save_cube(make_cube(values), tmp_path / "scenes" / f"{name}.nc")
    (tmp_path / "scenes" / "broken.nc").write_bytes(b"CDF\1")
    with publish(tmp_path / "model") as out:
        Bicubic(2).save(out)
    words = ["predict-batch", tmp_path / "scenes", tmp_path / "out", "--model", tmp_path / "model"]

    def start():
        command = [sys.executable, "-m", "flows", *words, "--tile", "12", "--overlap", "2"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=repository, **pipes)

    return start


def made(text):
    return re.findall(r"^(\w+): made", text, re.MULTILINE)


def test_two_at_once_make_each_product_once(start, tmp_path):
    both = [start(), start()]
    said = [process.communicate() for process in both]
    assert sorted(made(said[0][0]) + made(said[1][0])) == NAMES
    for process, (_, errors) in zip(both, said, strict=True):
        assert process.returncode == 1
        assert errors.splitlines()[-1].endswith("not predicted: broken. The lines above say why.")
    records = [json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in NAMES]
    assert [record["product"] for record in records] == [f"{name}.zarr" for name in NAMES]
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(NAMES)


def test_killed_it_goes_on_with_the_other_scenes(start, tmp_path):
    with start() as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert made(first) == NAMES[:1]
    before = (tmp_path / "out" / "s0.json").read_bytes()
    again = start()
    said, _ = again.communicate()
    assert "s0: known" in said
    assert set(NAMES) == set(made(said)) | set(re.findall(r"^(\w+): known", said, re.MULTILINE))
    assert (tmp_path / "out" / "s0.json").read_bytes() == before
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(NAMES)
