"""Faults in the data: flipped bytes in resume points, patches, caches and downloads; a loss that is not finite."""

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
from scipy.io import savemat

from tasks.running.dvc import out_hashes, set_params

from .harness import GROUP, OUT, REPRO, STAGE, wait_until


def resume_point(lab):
    checkout = lab.checkout(STAGE)
    work = checkout.root / ".hsipipe" / "work" / STAGE
    with checkout.begun(*REPRO) as child:
        wait_until(lambda: [*work.glob("*/resume.safetensors")] or child.is_over(), "a resume point")
        if process := checkout.stage_process(STAGE):
            process.kill()
        child.end()
    points = [*work.glob("*/resume.safetensors")]
    assert points, "the training ended before it was killed"
    _flip(points[0], at=0.9)
    assert "is damaged" in checkout.finish()
    checkout.check_recovers()
    return "named and ignored; the training starts again"


def shard(lab):
    """The stage alone names the damage; DVC sees it and makes the store again."""
    checkout = lab.checkout(STAGE)
    _flip(next(path for path in sorted(checkout.root.glob("data/patches/train.zarr/hr/c/**/*")) if path.is_file()))
    line = checkout.complaint(checkout.run("-m", "tasks", *STAGE.split("@")))
    assert not (checkout.root / OUT).exists(), "a model of damaged patches was published"
    checkout.check_recovers()
    return line


def cache(lab):
    """An entry of DVC's cache is damaged, and the output that it belongs to is gone."""
    checkout = lab.checkout()
    md5 = out_hashes(checkout.root)[OUT]
    entries = checkout.root / ".dvc" / "cache" / "files" / "md5"
    files = [
        entries / item["md5"][:2] / item["md5"][2:] for item in json.loads((entries / md5[:2] / md5[2:]).read_text())
    ]
    _flip(max(files, key=lambda path: path.stat().st_size))
    shutil.rmtree(checkout.root / OUT)
    checkout.check_recovers()
    return "noticed and dropped from the cache; the stage runs again"


def download(lab):
    """A mirror serves other bytes than the first time."""
    checkout = lab.checkout()
    mirror, kept = checkout.root.parent / "mirror", checkout.root.parent / "cache"
    mirror.mkdir()
    cube = np.random.default_rng(0).integers(1, 8000, (16, 16, 103)).astype(np.uint16)
    savemat(mirror / "PaviaU.mat", {"paviaU": cube})
    env = {"HSIPIPE_MIRROR": str(mirror), "HSIPIPE_CACHE": str(kept), "HSIPIPE_OFFLINE": "1"}
    command = ("-m", "flows", "download", "pavia_university")
    checkout.finish(*command, env=env)
    good = (mirror / "PaviaU.mat").read_bytes()
    file = next(kept.rglob("PaviaU.mat"))
    file.unlink()
    _flip(mirror / "PaviaU.mat")
    line = checkout.complaint(checkout.run(*command, env=env), "sha256")
    assert not file.exists(), "the damaged file was kept"
    (mirror / "PaviaU.mat").write_bytes(good)
    checkout.finish(*command, env=env)
    assert file.read_bytes() == good
    return line


def loss_not_finite(lab):
    checkout = lab.checkout(STAGE)
    original = (checkout.root / "params.yaml").read_bytes()
    set_params(checkout.root, [f"{GROUP}.optimizer.lr=1.0e+30", f"{GROUP}.optimizer.warmup=0"])
    code, said = checkout.run(*REPRO)
    line = checkout.complaint((code, said), "loss is")
    assert code == 1
    assert not (checkout.root / OUT).exists(), "a model was published"
    with closing(sqlite3.connect(checkout.root / "mlflow.db")) as connection:
        assert connection.execute("SELECT status FROM runs WHERE name = ?", [STAGE]).fetchall() == [("FAILED",)]
        assert connection.execute("SELECT count(*) FROM model_versions").fetchone() == (0,), "a model was registered"
    (checkout.root / "params.yaml").write_bytes(original)
    checkout.check_recovers()
    return line


def _flip(path, *, at=0.5):
    """Invert the byte at a share `at` of a file, which may be read-only."""
    content, mode = bytearray(path.read_bytes()), path.stat().st_mode
    content[int(at * (len(content) - 1))] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)
