import hashlib
import json
import os

import pytest
import yaml

from hsipipe.storage.publish import publish
from tasks.running import dvc_cache

NAMES = ("MANIFEST.json", "weights")


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def root(tmp_path):
    """A project with one output, models/gae of train_gae, and DVC's cache of it."""
    with publish(tmp_path / "models/gae") as out:
        (out / "weights").write_bytes(b"good")
    cache = tmp_path / ".dvc/cache/files/md5"
    listing = []
    for name in NAMES:
        content = (tmp_path / "models/gae" / name).read_bytes()
        listing.append({"md5": md5(content), "relpath": name})
        put(cache, md5(content), content)
    content = json.dumps(listing).encode()
    put(cache, md5(content) + ".dir", content)
    outs = [{"path": "models/gae", "md5": md5(content) + ".dir"}, {"path": "reports/x.json", "md5": "1" * 32}]
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": {"train_gae": {"outs": outs}}}), encoding="utf-8")
    return tmp_path


def put(cache, name, content):
    path = cache / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def rewrite(path, content):
    """Write a file at another time than before."""
    path.write_bytes(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))


def come_back(root, content):
    """What DVC does when it takes the output out of its cache."""
    manifest = root / "models/gae/MANIFEST.json"
    rewrite(manifest, manifest.read_bytes())
    rewrite(root / "models/gae/weights", content)


def test_what_came_back_as_it_was_is_fine(root):
    before = dvc_cache.marks(root)
    come_back(root, b"good")
    assert dvc_cache.damaged(root, before) == []


def test_what_came_back_damaged_is_named(root):
    before = dvc_cache.marks(root)
    come_back(root, b"baad")
    assert dvc_cache.damaged(root, before) == ["models/gae"]


def test_what_its_stage_has_made_or_nobody_has_touched_is_not_read(root):
    before = dvc_cache.marks(root)
    (root / "models/gae/weights").write_bytes(b"baad")
    assert dvc_cache.damaged(root, before) == []
    come_back(root, b"baad")
    lock = root / ".hsipipe/locks/train_gae.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("1", encoding="utf-8")
    assert dvc_cache.damaged(root, before) == []


@pytest.mark.parametrize(
    ("file", "stage", "label"),
    [
        ("dvc.lock", "evaluate@bicubic", "evaluate@bicubic"),
        ("dvc.lock", "train_seed@pca-residual-1", "train@pca-residual@seed-1"),
        ("dvc.lock", "evaluate_steps@dmgasr-20", "evaluate@dmgasr@steps-20"),
        ("tasks/dvc.lock", "train@pca-residual", "train@pca-residual"),
    ],
)
def test_an_output_that_its_stage_has_made_is_known_by_the_lock_that_the_stage_holds(root, file, stage, label):
    text = (root / "dvc.lock").read_text(encoding="utf-8").replace("train_gae", stage)
    (root / "dvc.lock").unlink()
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(text, encoding="utf-8")
    before = dvc_cache.marks(root)
    come_back(root, b"baad")
    assert dvc_cache.damaged(root, before) == ["models/gae"]
    lock = root / f".hsipipe/locks/{label}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("1", encoding="utf-8")
    assert dvc_cache.damaged(root, before) == []


def test_only_damaged_files_are_dropped_from_the_cache(root):
    cache = root / ".dvc/cache"
    assert dvc_cache.drop(root, "models/gae", cache=cache) == 0
    name = md5(b"good")
    (cache / "files/md5" / name[:2] / name[2:]).write_bytes(b"baad")
    assert dvc_cache.drop(root, "models/gae", cache=cache) == 1
    assert sorted(path.parent.name + path.name for path in (cache / "files/md5").glob("*/*")) == sorted(
        {md5((root / "models/gae/MANIFEST.json").read_bytes()), *listing_names(root)}
    )


def listing_names(root):
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    return [lock["stages"]["train_gae"]["outs"][0]["md5"]]


def test_without_dvc_lock_there_is_nothing_to_look_at(tmp_path):
    assert dvc_cache.marks(tmp_path) == {}
    assert dvc_cache.damaged(tmp_path, {}) == []
