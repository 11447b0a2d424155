"""What a retraining asks of params.yaml before it begins, and of a remote storage."""

import subprocess

import pytest

from hsipipe.errors import ParamsError
from tasks.intake import check_retraining
from tasks.ledger import set_params

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
        ("dataset.root=../elsewhere", "lies outside of"),
        ("dataset.root=.", "lies outside of"),
        ("split.val_scenes=[]", "would redraw them"),
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
