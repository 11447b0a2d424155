"""Clocks that jump, damaged files, a loss that is not finite."""

import json
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from scipy.io import savemat

from injection.invariants import same_results
from injection.laboratory import REPRO, begun, check, wait_until
from injection.recovery import SINGLE, STAGE, Laboratory, complaint, recovers, shortened

_CLOCK = """
import os, time
_shift = float(os.environ["HSIPIPE_TEST_SHIFT_S"])
_after = float(os.environ.get("HSIPIPE_TEST_AFTER_S", "0"))
_time, _time_ns, _begun = time.time, time.time_ns, time.monotonic()
def _now():
    return _shift if time.monotonic() - _begun >= _after else 0.0
time.time = lambda: _time() + _now()
time.time_ns = lambda: _time_ns() + int(1e9 * _now())
"""


def clock(lab: Laboratory, *, shift_s: float, after_s: float = 2.0, stages: Sequence[str] = (STAGE,)) -> str:
    """time.time jumps within every process, two seconds after its start."""
    checkout = lab.checkout(SINGLE, stages)
    folder = checkout.root.parent / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_CLOCK, encoding="utf-8")
    env = {
        "PYTHONPATH": str(folder),
        "HSIPIPE_TEST_SHIFT_S": str(shift_s),
        "HSIPIPE_TEST_AFTER_S": str(after_s),
    }
    code, said = checkout.run(*REPRO, env=env)
    check(code == 0, f"it ended with {code}: {said[-2000:]}")
    same_results(checkout.root, lab.reference(SINGLE))
    recovers(lab, checkout)
    return f"the clock jumps by {shift_s / 86400:+.0f} days: the same results"


def _flip(path: Path, *, at: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 0xFF
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def damaged_resume_point(lab: Laboratory) -> str:
    checkout = lab.checkout(SINGLE, [STAGE])
    work = checkout.root / ".hsipipe" / "work" / STAGE
    with begun(checkout, STAGE, *REPRO) as child:
        wait_until(lambda: [*work.glob("*/resume.safetensors")] or child.is_over(), "a resume point")
        points = [*work.glob("*/resume.safetensors")]
        check(points, "the training was over before it could be killed")
        process = checkout.stage_process(STAGE)
        if process is not None:
            process.kill()
        child.end()
    points = [*work.glob("*/resume.safetensors")]
    check(points, "the training ended before it could be killed")
    _flip(points[0], at=0.9)
    said = checkout.finish()
    check("is damaged" in said, f"the damage is not named: {said[-1500:]}")
    recovers(lab, checkout)
    return "named and left aside, the training starts again"


def damaged_shard(lab: Laboratory) -> str:
    """The stage alone names the damage; dvc sees it and makes the store again."""
    checkout = lab.checkout(SINGLE, [STAGE])
    shard = next(path for path in sorted(checkout.root.glob("data/patches/train.zarr/hr/c/**/*")) if path.is_file())
    _flip(shard)
    code, said = checkout.run("-m", "tasks", STAGE)
    line = complaint(code, said)
    check(not (checkout.root / "models" / "control").exists(), "a model of damaged patches was published")
    recovers(lab, checkout)
    return shortened(line, checkout)


def damaged_cache(lab: Laboratory) -> str:
    """An entry of DVC's cache is damaged, and the output that it belongs to is gone."""
    checkout = lab.checkout(SINGLE, [])
    lock = yaml.safe_load((checkout.root / "dvc.lock").read_text(encoding="utf-8"))
    (md5,) = [out["md5"] for out in lock["stages"][STAGE]["outs"] if out["path"] == "models/control"]
    cache = checkout.root / ".dvc" / "cache" / "files" / "md5"
    entry = cache / md5[:2] / md5[2:]

    largest = max(
        json.loads(entry.read_text()), key=lambda item: (cache / item["md5"][:2] / item["md5"][2:]).stat().st_size
    )
    _flip(cache / largest["md5"][:2] / largest["md5"][2:])
    shutil.rmtree(checkout.root / "models" / "control")
    recovers(lab, checkout)
    return "noticed, dropped from the cache, and the stage runs again"


def damaged_download(lab: Laboratory) -> str:
    """A mirror hands out other bytes than the first time."""
    checkout = lab.checkout(SINGLE, [])
    mirror, cache = checkout.root.parent / "mirror", checkout.root.parent / "cache"
    mirror.mkdir()
    cube = np.random.default_rng(0).integers(1, 8000, (16, 16, 103)).astype(np.uint16)
    savemat(mirror / "PaviaU.mat", {"paviaU": cube})
    env = {"HSIPIPE_MIRROR": str(mirror), "HSIPIPE_CACHE": str(cache), "HSIPIPE_OFFLINE": "1"}
    command = ("-m", "flows", "download", "pavia_university")
    checkout.finish(*command, env=env)
    good = (mirror / "PaviaU.mat").read_bytes()
    kept = next(cache.rglob("PaviaU.mat"))
    kept.unlink()
    _flip(mirror / "PaviaU.mat")
    code, said = checkout.run(*command, env=env)
    line = complaint(code, said, "sha256")
    check(not kept.exists(), "the damaged file was kept")
    (mirror / "PaviaU.mat").write_bytes(good)
    checkout.finish(*command, env=env)
    check(kept.read_bytes() == good, "the good file was not kept")
    return shortened(line, checkout)


def loss_not_finite(lab: Laboratory) -> str:
    from tasks.running.dvc import set_params

    checkout = lab.checkout(SINGLE, [STAGE])
    original = (checkout.root / "params.yaml").read_bytes()
    set_params(checkout.root, ["control.optimizer.lr=1.0e+30", "control.optimizer.warmup=0"])
    code, said = checkout.run(*REPRO)
    line = complaint(code, said, "loss is")
    check(code == 1, f"it ended with {code}")
    check(not (checkout.root / "models" / "control").exists(), "a model was published")
    with sqlite3.connect(checkout.root / "mlflow.db") as connection:
        found = dict(connection.execute("SELECT name, status FROM runs WHERE name = ?", [STAGE]).fetchall())
        (registered,) = connection.execute("SELECT count(*) FROM model_versions").fetchone()
    connection.close()
    check(found == {STAGE: "FAILED"}, f"MLflow says {found}")
    check(registered == 0, "a model was registered")
    (checkout.root / "params.yaml").write_bytes(original)
    recovers(lab, checkout)
    return shortened(line, checkout)
