"""No file in the inbox stops the others, and only what is wrong with a scene itself puts it aside."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_readers import OddReaders

from hsipipe import save_cube
from hsipipe.datasets import inbox as module
from hsipipe.datasets.admission import Fit, check_names, printable
from hsipipe.datasets.examine import limits_for
from hsipipe.datasets.folder import FOLDER
from hsipipe.datasets.inbox import QUARANTINE, REASON, take_in
from hsipipe.errors import DataError
from hsipipe.isolation import Limits
from hsipipe.params import PatchesParams

PATCHES = PatchesParams(size=8, stride=8, shard=1, least_valid=0.5)
FIT = Fit(scale=4, crop_remainder=False, patches=PATCHES, uses_msi=True)

MEMORY = 4 << 30


@pytest.fixture
def inbox(tmp_path, monkeypatch):
    odd = OddReaders(**{field.name: getattr(FOLDER, field.name) for field in fields(FOLDER)})
    monkeypatch.setattr(module, "FOLDER", odd)
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def dataset(make_params, tmp_path):
    return make_params("dataset", name="folder", root=str(tmp_path / "scenes"))


def arrive(inbox, *names):
    for number, name in enumerate(names):
        values = np.random.default_rng(number).random((4, 16, 16), dtype=np.float32)
        save_cube(xr.DataArray(values, dims=("band", "y", "x")), inbox / "new.npy")
        os.rename(inbox / "new.npy", inbox / name)


def ingest(inbox, dataset, *names, quiet_s=0):
    """Deliver scenes with a good one before and one after them; the outcome of each by name."""
    arrive(inbox, "a.npy", *names, "z.npy")
    found = {one.name: one for one in take_in(inbox, dataset, fit=FIT, quiet_s=quiet_s)}
    assert (found.pop("a").outcome, found.pop("z").outcome) == ("new", "new")
    return found


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGTERM])
def test_a_scene_that_crashes_its_reader_is_told_and_passed_over(inbox, dataset, number):
    found = ingest(inbox, dataset, f"signal-{number:d}.npy")
    assert found[f"signal-{number:d}"].outcome == "waiting"
    assert number.name in found[f"signal-{number:d}"].reason


def test_a_scene_that_takes_the_processor_for_ever_is_put_aside(inbox, dataset, monkeypatch):
    monkeypatch.setattr(module, "limits_for", lambda files: Limits(1.0 if "spin.npy" in files else 60.0, 120.0, MEMORY))
    found = ingest(inbox, dataset, "spin.npy")
    assert found["spin"].outcome == "quarantined"
    assert "CPU time" in found["spin"].reason


def test_a_scene_whose_disk_does_not_answer_stays(inbox, dataset, monkeypatch):
    monkeypatch.setattr(module, "limits_for", lambda files: Limits(60.0, 0.1 if "sleep.npy" in files else 60.0, MEMORY))
    found = ingest(inbox, dataset, "sleep.npy")
    assert found["sleep"].outcome == "waiting"
    assert (inbox / "sleep.npy").is_file()


@pytest.mark.parametrize(
    "name",
    ["memory", "text", "exit", "bug", *(f"errno-{n}" for n in (errno.ENOSPC, errno.EIO, errno.ENOMEM, errno.EMFILE))],
)
def test_little_memory_a_full_disk_or_a_bug_put_no_scene_aside(inbox, dataset, name):
    found = ingest(inbox, dataset, f"{name}.npy")
    assert found[name].outcome == "waiting"
    assert found[name].reason
    assert "damaged" not in found[name].reason or name in ("text", "exit")
    assert not (inbox / QUARANTINE).exists()


@pytest.mark.parametrize("length", [201, 235, 239, 247, 255])
@pytest.mark.parametrize("letter", ["x", "ä"])
def test_a_name_that_is_too_long_is_put_aside_under_a_shorter_one(inbox, dataset, length, letter):
    stem = letter * ((length - 5) // len(letter.encode()))
    stem += "x" * (length - 4 - len(stem.encode()))
    found = ingest(inbox, dataset, f"{stem}.npy")
    (arrival,) = found.values()
    assert arrival.outcome == "quarantined"
    assert "expected at most 200" in arrival.reason
    (aside,) = (inbox / QUARANTINE).iterdir()
    assert sorted(entry.name for entry in aside.iterdir()) == sorted([f"{stem}.npy", REASON])
    assert json.loads((aside / REASON).read_text(encoding="utf-8"))["scene"] == stem


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", b"\x1b[31mred", b"caf\xe9", b"a\tb"])
def test_a_name_that_cannot_be_written_is_put_aside(inbox, dataset, name):
    found = ingest(inbox, dataset, os.fsdecode(name + b".npy"), os.fsdecode(name + b".notes"))
    assert sorted(one.outcome for one in found.values()) == ["quarantined", "waiting"]
    for one in found.values():
        assert (one.name + one.reason).encode().decode().isprintable()
    (aside,) = (inbox / QUARANTINE).iterdir()
    assert os.fsencode(name + b".npy") in os.listdir(os.fsencode(aside))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=255).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b"..")))
def test_a_name_is_refused_unless_it_can_be_printed_stored_and_extended(name):
    text, refused = os.fsdecode(name), ""
    try:
        check_names({text: None})
    except DataError as error:
        refused = str(error)
    assert refused.isprintable()
    assert printable(text).isprintable()
    assert bool(refused) == (len(name) > 200 or printable(text) != text)


def test_what_is_no_regular_file_is_put_aside_or_left(inbox, dataset):
    os.mkfifo(inbox / "pipe.npy")
    save_cube(xr.DataArray(np.ones((4, 16, 16), np.float32), dims=("band", "y", "x")), inbox / "b.zarr")
    os.mkfifo(inbox / "b.zarr" / "pipe")
    os.symlink("/etc", inbox / "b.zarr" / "link")
    save_cube(xr.DataArray(np.ones((4, 16, 16), np.float32), dims=("band", "y", "x")), inbox / "c.zarr")
    os.mkfifo(inbox / "c.zarr" / "pipe")
    found = ingest(inbox, dataset)
    assert {name: one.outcome for name, one in found.items()} == {
        "pipe.npy": "waiting",
        "b": "quarantined",
        "c": "quarantined",
    }


def test_a_quarantine_that_cannot_be_made_stops_nothing_and_leaves_nothing(inbox, dataset):
    (inbox / QUARANTINE).write_text("no folder", encoding="utf-8")
    (inbox / "bad.npy").write_bytes(b"no array")
    found = ingest(inbox, dataset)
    assert found["bad"].outcome == "waiting"
    assert "cannot be moved to the quarantine" in found["bad"].reason
    assert (inbox / "bad.npy").is_file()


def test_a_scene_that_is_taken_in_and_cannot_be_removed_is_told(inbox, dataset, monkeypatch):
    def refuse(*_args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module, "_clear_inbox", refuse)
    arrive(inbox, "a.npy")
    (arrival,) = take_in(inbox, dataset, fit=FIT, quiet_s=0)
    assert arrival.outcome == "new"
    assert "cannot be removed from the inbox" in arrival.reason


def test_a_full_disk_leaves_the_scene_and_the_next_call_takes_it_in(inbox, dataset, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    arrive(inbox, "a.npy")
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copyfile", full)
        (arrival,) = take_in(inbox, dataset, fit=FIT, quiet_s=0)
    assert arrival.outcome == "waiting"
    assert "No space left" in arrival.reason
    (arrival,) = take_in(inbox, dataset, fit=FIT, quiet_s=0)
    assert arrival.outcome == "new"


def test_settings_that_fit_no_first_scene_put_none_aside(inbox, make_params, tmp_path):
    folder = make_params("dataset").folder.model_copy(update={"wavelength_nm": [400.0, 500.0]})
    dataset = make_params("dataset", name="folder", root=str(tmp_path / "scenes"))
    arrive(inbox, "a.npy")
    (arrival,) = take_in(inbox, dataset.model_copy(update={"folder": folder}), fit=FIT, quiet_s=0)
    assert arrival.outcome == "waiting"
    assert "dataset.folder.wavelength_nm" in arrival.reason


def test_two_of_one_name_that_cannot_be_moved_stop_nothing(inbox, dataset, monkeypatch):
    def refuse(*_args):
        raise PermissionError(errno.EACCES, "Permission denied")

    arrive(inbox, "b.npy", "c.npy")
    os.rename(inbox / "c.npy", inbox / "b.h5")
    monkeypatch.setattr(module, "quarantine", refuse)
    assert ingest(inbox, dataset)["b"].outcome == "waiting"


def test_the_time_of_an_examination_grows_with_the_scene_and_has_an_end(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 42)
    (tmp_path / "small").write_bytes(b"x")
    small, large = (limits_for({name: tmp_path / name}) for name in ("small", "large"))
    assert 60 < small.cpu_s < large.cpu_s <= 3600
    assert small.cpu_s < small.wall_s


SCRIPT = """
from pathlib import Path
from hsipipe.datasets.admission import Fit
from hsipipe.datasets.inbox import take_in
from hsipipe.params import load_params

params = load_params(Path("params.yaml"))
dataset = params.dataset.model_copy(update={"name": "folder", "root": "scenes"})
fit = Fit(4, False, params.patches.model_copy(update={"size": 8, "stride": 8}), uses_msi=False)
print([one.outcome for one in take_in(Path("inbox"), dataset, fit=fit, quiet_s=0)])
"""


def test_a_script_that_takes_scenes_in_is_run_once(inbox, tmp_path, repository):
    arrive(inbox, "a.npy", "b.npy")
    (tmp_path / "params.yaml").write_bytes((repository / "params.yaml").read_bytes())
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['new', 'new']\n", "")
