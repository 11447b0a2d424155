"""Faults of the machine and its users: signals, two commands at once, full and read-only disks, clocks that jump."""

import os
import resource
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np
import psutil
import pytest

from tasks.running.dvc import set_params

from .harness import GROUP, OUT, REPRO, STAGE, wait_until


def signalled(lab, *, number, target, command=REPRO, moment=0.0):
    """SIGTERM or SIGINT to the stage, to dvc, or to the command."""
    checkout = lab.checkout(STAGE)
    with checkout.begun(*command) as child:
        time.sleep(moment)
        found = {"stage": checkout.stage_process(STAGE), "dvc": checkout.dvc_process()}.get(target)
        (found or child.process).send_signal(number)
        code, said = child.end()
        # While a stage runs dvc leaves SIGINT to it: sent to dvc alone, it is ignored.
        ignored = target == "dvc" and number == signal.SIGINT
        assert code != 0 or ignored, said[-1500:]
        assert "Traceback" not in said or target == "dvc", said[-3000:]
        checkout.check_tidy()
        assert not list((checkout.root / "models").glob(".*.tmp"))
    checkout.check_recovers()
    return f"exit {code}"


def two_at_once(lab, *command, code, parts):
    """The second command is refused, the first one ends well."""
    checkout = lab.checkout(STAGE)
    with checkout.begun(*command) as first:
        refused, said = checkout.run(*command)
        assert refused != 0, said[-1500:]
        assert code in (None, refused), said[-1500:]
        assert all(part in said for part in parts), said[-1500:]
        ended, said = first.end()
        assert ended == 0, said[-1500:]
    checkout.check_recovers()
    return f"the second one is refused with {refused}"


def full_disk(lab, place, *, stage=STAGE, spare_bytes=8192):
    """No space for the outputs, DVC's cache, or the work folder."""
    checkout = lab.checkout(stage)
    with _small_disk(checkout.root / place, spare_bytes=spare_bytes) as enlarge:
        line = checkout.complaint(checkout.run(*REPRO), "pace left" if place == ".dvc/cache" else "disk is full")
        checkout.check_tidy()
        enlarge()
        checkout.check_recovers()
    return line


def full_at_a_resume_point(lab):
    """Space for one resume point and not for two, so that the second one of a training finds a full disk."""
    checkout = lab.checkout(STAGE)
    work = checkout.root / ".hsipipe" / "work"
    sizes = []

    def measured():
        found = [path.stat().st_size for path in work.glob(f"{STAGE}/*/resume.safetensors") if path.exists()]
        sizes.extend(found)
        return sizes

    with checkout.begun(*REPRO) as child:
        wait_until(lambda: measured() or child.is_over(), "a resume point")
    shutil.rmtree(work)
    with _small_disk(work, spare_bytes=max(sizes) * 3 // 2 + 65536) as enlarge:
        line = checkout.complaint(checkout.run(*REPRO), "disk is full")
        checkout.check_tidy()
        left = [path.name for path in work.glob(f"{STAGE}/*/.*.tmp")]
        assert left == [], f"what keeps the disk full: {left}"
        enlarge()
        checkout.check_recovers()
    return line


def stopped_and_continued(lab, *, target, seconds=5.0):
    """SIGSTOP, and SIGCONT after a while, to the stage or to everything, as by Ctrl-Z and fg."""
    checkout = lab.checkout(STAGE)
    with checkout.begun(*REPRO) as child:
        found = [checkout.stage_process(STAGE)] if target == "stage" else checkout.processes()
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in filter(None, found):
                with suppress(psutil.Error):
                    process.send_signal(number)
            time.sleep(seconds if number == signal.SIGSTOP else 0)
        code, said = child.end()
        assert code == 0, said[-1500:]
    checkout.check_recovers()
    return "the same results"


def little_memory(lab):
    """A limit of memory that a batch of the training does not fit into."""
    checkout = lab.checkout(STAGE)
    original = (checkout.root / "params.yaml").read_bytes()
    set_params(checkout.root, [f"{GROUP}.optimizer.batch=500000"])
    line = checkout.complaint(
        checkout.run(*REPRO, preexec_fn=partial(_limit_memory, 3 << 30)), "memory does not suffice"
    )
    checkout.check_tidy()
    assert not (checkout.root / OUT).exists(), "a model was published"
    (checkout.root / "params.yaml").write_bytes(original)
    checkout.check_recovers()
    return line


def little_memory_in_predict(lab):
    checkout = lab.checkout()
    lr, out = checkout.root.parent / "lr.npy", checkout.root.parent / "sr.npy"
    np.save(lr, np.full((8, 2500, 2500), 0.5, np.float32))
    command = ("-m", "flows", "predict", lr, out, "--model", "models/superresolver")
    # Less than the least windows take, beside the libraries.
    line = checkout.complaint(checkout.run(*command, preexec_fn=partial(_limit_memory, 600 << 20)), "memory")
    assert [path.name for path in lr.parent.glob("*sr.npy*")] == [], "a part of the prediction is left"
    np.save(lr, np.full((8, 16, 16), 0.5, np.float32))
    checkout.finish(*command)
    assert np.load(out).shape == (8, 64, 64)
    return line


def _limit_memory(size):
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def read_only(lab, place):
    """A read-only folder: DVC's cache, or the outputs."""
    checkout = lab.checkout(STAGE)
    with _read_only(checkout.root / place):
        line = checkout.complaint(checkout.run(*REPRO), "ead-only file system")
    checkout.check_tidy()
    checkout.check_recovers()
    return line


def read_only_downloads(lab):
    checkout = lab.checkout()
    cache, mirror = (checkout.root.parent / name for name in ("cache", "mirror"))
    cache.mkdir()
    mirror.mkdir()
    (mirror / "PaviaU.mat").write_bytes(bytes(1000))
    env = {"HSIPIPE_MIRROR": str(mirror), "HSIPIPE_CACHE": str(cache), "HSIPIPE_OFFLINE": "1"}
    with _read_only(cache):
        ended = checkout.run("-m", "flows", "download", "pavia_university", env=env)
    return checkout.complaint(ended, "ead-only file system")


_CLOCK = """
import os, time
_shift = float(os.environ["HSIPIPE_TEST_SHIFT_S"])
_time, _time_ns, _begun = time.time, time.time_ns, time.monotonic()
def _now():
    return _shift if time.monotonic() - _begun >= 2 else 0.0
time.time = lambda: _time() + _now()
time.time_ns = lambda: _time_ns() + int(1e9 * _now())
"""


def clock(lab, *, shift_s):
    """time.time jumps in every process, two seconds after its start."""
    checkout = lab.checkout(STAGE)
    folder = checkout.root.parent / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_CLOCK, encoding="utf-8")
    path = os.pathsep.join([str(folder), *filter(None, [lab.env.get("PYTHONPATH")])])
    checkout.finish(env={"PYTHONPATH": path, "HSIPIPE_TEST_SHIFT_S": str(shift_s)})
    checkout.check_results()
    checkout.check_recovers()
    return "the same results"


def _mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.strip() or done.returncode}")


@contextmanager
def _mounted(folder, *arguments):
    _mount(*arguments, str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _read_only(folder):
    with _mounted(folder, "--bind", str(folder)):
        _mount("-o", "remount,ro,bind", str(folder))
        yield


@contextmanager
def _small_disk(folder, *, spare_bytes):
    """Put a folder on a disk with hardly any space left; yield a function that enlarges the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f"{folder.name}.aside")
    shutil.copytree(folder, aside, symlinks=True)
    pages = sum(2 + path.stat().st_size // 4096 for path in aside.rglob("*") if not path.is_symlink())
    ballast = folder / ".ballast"

    def enlarge():
        ballast.unlink(missing_ok=True)
        _mount("-o", "remount,size=1g", str(folder))

    try:
        with _mounted(folder, "-t", "tmpfs", "-o", f"size={4096 * pages + spare_bytes}", "none"):
            shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
            ballast.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - spare_bytes)))
            yield enlarge
    finally:
        shutil.rmtree(aside)
