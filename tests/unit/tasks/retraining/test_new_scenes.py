"""What a retraining asks of params.yaml before it begins, and of a remote storage."""

import shutil
import subprocess

import numpy as np
import pytest
import xarray as xr

from hsipipe import save_cube
from hsipipe.errors import DataError, ParamsError
from tasks.retraining.new_scenes import check_retraining, fetch, is_stale, look_through, push, receive
from tasks.running.dvc import set_params
from tasks.running.git import git

GOOD = (
    "dataset.name=folder",
    "dataset.root=scenes",
    "inbox.path=inbox",
    "split.test_scenes=[a,b]",
    "split.val_scenes=[c]",
)


@pytest.fixture
def project(root):
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    (root / ".gitignore").write_text("/inbox/\n", encoding="utf-8")
    return root


def test_without_an_inbox_nothing_is_asked(project):
    check_retraining(project)


def test_a_pinned_split_and_a_root_in_the_project_are_fit(project):
    set_params(project, GOOD)
    check_retraining(project)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.name=synthetic", "set dataset.name to folder"),
        ("dataset.root=../elsewhere", "lies outside "),
        ("dataset.root=.", "lies outside "),
        ("dataset.root=inbox", "the same folder, or one lies in the other"),
        ("dataset.root=data/mine", "is a folder of the pipeline"),
        ("split.val_scenes=[]", "would change them"),
        ("inbox.path=arrivals", r"add it to \.gitignore"),
    ],
)
def test_what_is_not_fit_is_said_with_the_remedy(project, override, message):
    set_params(project, [*GOOD, *(["dataset.root=null"] if "synthetic" in override else []), override])
    with pytest.raises(ParamsError, match=message):
        check_retraining(project)


def test_an_inbox_elsewhere_needs_no_git(root, tmp_path):
    set_params(root, [*GOOD, f"inbox.path={tmp_path.parent / 'elsewhere'}"])
    check_retraining(root)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder of the site that the first test makes; the others copy it, which is fifteen times as fast."""
    return tmp_path_factory.mktemp("kept") / "site"


@pytest.fixture
def site(project, kept):
    """Three scenes that came in by the inbox, versioned by DVC in a git repository."""
    if not kept.exists():
        _make_site(project)
        shutil.copytree(project, kept, symlinks=True)
    shutil.rmtree(project / ".git")
    shutil.copytree(kept, project, symlinks=True, dirs_exist_ok=True)
    return project


def _make_site(project):
    (project / ".dvc").mkdir()
    config = "[core]\n    analytics = false\n    check_update = false\n    remote = store\n"
    config += f"['remote \"store\"']\n    url = {project.parent / 'store'}\n"
    (project / ".dvc" / "config").write_text(config, encoding="utf-8")
    (project / ".gitignore").write_text("\n".join(IGNORED) + "\n", encoding="utf-8")
    (project / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (project / "make.py").write_text(DOWNLOAD, encoding="utf-8")
    set_params(project, [*GOOD, "inbox.quiet_s=0", "patches.size=8", "patches.stride=8"])
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["add", "--all"], [*who, "commit", "--quiet", "--message", "start"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    arrive(project, "a", "b", "c")
    assert {one.name: one.outcome for one in receive(project, on_line=print)} == dict.fromkeys("abc", "new")


IGNORED = ("/inbox/", "/.hsipipe/", "/data/", "/mlflow.db*", "/.dvc/tmp", "/.dvc/cache")
DVC_YAML = """
stages:
  download:
    cmd: python make.py
    deps: [make.py]
    outs: [data/raw]
"""
# Stands for the stage, without the time that it takes to record a run.
DOWNLOAD = """
from pathlib import Path
from hsipipe.artifacts import RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.params import load_params
Path("data/raw").mkdir(parents=True)
prepare_scenes(load_params(Path("params.yaml")).dataset, Path("data/raw"))
"""


def arrive(project, *names, seed=0):
    (project / "inbox").mkdir(exist_ok=True)
    for name in names:
        values = np.random.default_rng([ord(name), seed]).random((3, 16, 16), np.float32)
        save_cube(xr.DataArray(values, dims=("band", "y", "x")), project / "inbox" / f"{name}.nc")


def scenes(project):
    return sorted(path.stem for path in (project / "scenes").iterdir())


def test_what_arrived_is_versioned_committed_and_downloaded(site):
    assert scenes(site) == ["a", "b", "c"]
    assert git(site, "log", "--format=%s", "-1") == "chore: scenes of the inbox (a, b, c)"
    assert git(site, "status", "--porcelain", "--", "scenes.dvc", ".gitignore") == ""
    assert not is_stale(site)
    arrive(site, "d")
    receive(site, on_line=print)
    assert not is_stale(site)
    assert git(site, "log", "--format=%s", "-1") == "chore: scenes of the inbox (d)"


def test_killed_after_the_inbox_the_next_run_versions_and_downloads(site):
    arrive(site, "d")
    look_through(site)
    assert is_stale(site)
    receive(site, on_line=print)
    assert scenes(site) == ["a", "b", "c", "d"]
    assert not is_stale(site)
    assert git(site, "status", "--porcelain", "--", "scenes.dvc") == ""


def test_killed_in_the_download_the_next_run_does_not_take_the_old_scenes_for_the_new_ones(site):
    arrive(site, "d")
    look_through(site)
    shutil.rmtree(site / "data" / "raw")
    assert is_stale(site)
    receive(site, on_line=print)
    assert (site / "data" / "raw" / "d.nc").is_file()


def test_a_scene_that_got_lost_comes_back_and_is_not_committed_away(site):
    (site / "scenes" / "b.nc").unlink()
    receive(site, on_line=print)
    assert scenes(site) == ["a", "b", "c"]
    (site / "scenes" / "b.nc").unlink()
    arrive(site, "d")
    look_through(site)  # and killed: now DVC does not know d, and will not touch the folder
    with pytest.raises(DataError, match=r"scenes/b\.nc of DVC's scenes\.dvc is not in scenes"):
        receive(site, on_line=print)
    assert git(site, "status", "--porcelain", "--", "scenes.dvc") == ""


def test_another_checkout_gets_the_scenes_from_the_remote_storage(site, tmp_path, monkeypatch):
    (site.parent / "store").mkdir(exist_ok=True)
    assert push(site, on_line=print)
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", str(site), str(other)], check=True)
    (other / "inbox").mkdir()
    monkeypatch.chdir(other)
    assert fetch(other, on_line=print)
    assert receive(other, on_line=print) == []
    assert scenes(other) == ["a", "b", "c"]
    assert (other / "data" / "raw" / "c.nc").is_file()
