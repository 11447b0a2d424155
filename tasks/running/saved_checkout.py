"""What ``dvc exp run`` changes in a checkout beside the outputs: saved before, put back after.

DVC writes params.yaml and dvc.lock, detaches HEAD, and for a moment stashes everything uncommitted away. It puts HEAD
and files back when it ends by itself, the index never, and when it is killed nothing. So all of that is copied first,
and whoever holds the pipeline's lock next puts it back.
"""

import json
import logging
import shutil
import subprocess
from pathlib import Path

import yaml

from hsipipe.errors import HsipipeError
from tasks.running.git import git
from tasks.running.project import PARAMS

logger = logging.getLogger(__name__)

LOCK = "dvc.lock"
BEFORE = "params.yaml.before-sweep"
"""Where the saved params.yaml goes if the user has written another one in the meantime."""
_STATE = "state.json"
_EXPECTED = "expected.yaml"
_INDEX = "index"
# Where DVC keeps an experiment between planning and running it; a killed one would be run with the next.
_DVC_STASH = "refs/exps/stash"


def is_saved(root: Path) -> bool:
    """Whether something waits to be put back."""
    return (_folder(root) / _STATE).is_file()


def save(root: Path) -> None:
    """Copy params.yaml, dvc.lock, every uncommitted change of a tracked file, the index and HEAD.

    Raises:
        HsipipeError: The project is in no git repository, or in one without a commit.
    """
    from hsipipe.storage.publish import atomic_folder

    root = root.resolve()
    top, commit = git(root, "rev-parse", "--show-toplevel"), git(root, "rev-parse", "HEAD")
    if top is None or commit is None:
        raise HsipipeError(
            f"{root} is in no git repository with a commit, which dvc exp run needs; run git init, git add and "
            "git commit first."
        )
    base = Path(top)
    changed = (git(base, "diff", "--name-only", "-z", "HEAD") or "").split("\0")
    own = [(root.resolve() / name).relative_to(base.resolve()).as_posix() for name in (PARAMS, LOCK)]
    with atomic_folder(_folder(root)) as folder:
        files: dict[str, str | None] = {}
        for number, name in enumerate(sorted({*filter(None, changed), *own})):
            if (base / name).is_file():
                shutil.copy2(base / name, folder / f"{number}.bin")
                files[name] = f"{number}.bin"
            else:
                files[name] = None
        index = _index(base)
        if index.is_file():
            shutil.copyfile(index, folder / _INDEX)
        state = {"top": top, "commit": commit, "head": git(base, "symbolic-ref", "HEAD"), "files": files}
        (folder / _STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def expect(root: Path, params: str) -> None:
    """Say which params.yaml DVC is about to write, so that it can be told from one that the user writes."""
    from hsipipe.storage.publish import write_text

    write_text(_folder(root) / _EXPECTED, params)


def restore(root: Path) -> list[str]:
    """Put back what :func:`save` copied, if anything; an edit that the user has made since stays.

    Returns:
        A sentence for each thing that a person should know.
    """
    if not is_saved(root):
        return []
    root = root.resolve()
    folder = _folder(root)
    state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    base, said = Path(state["top"]), []
    said += _attach_head(base, state)
    for name, copy in state["files"].items():
        said += _put_back(root, base / name, folder / copy if copy else None, committed=_committed(base, name))
    if (folder / _INDEX).is_file() and git(base, *_HEAD) == state["commit"]:
        shutil.copyfile(folder / _INDEX, _index(base))
        git(base, "update-index", "-q", "--refresh")
    if git(base, "rev-parse", "--verify", "--quiet", _DVC_STASH):
        git(base, "update-ref", "-d", _DVC_STASH)
    shutil.rmtree(folder)
    return said


_HEAD = ("rev-parse", "HEAD")


def _attach_head(base: Path, state: dict[str, str]) -> list[str]:
    """Back to the branch, if DVC has left it: it commits an experiment there before it goes back by itself."""
    if not state["head"] or git(base, "symbolic-ref", "HEAD") is not None:
        return []
    left = (git(base, *_HEAD), git(base, "rev-parse", "--verify", "--quiet", "HEAD^"))
    if _tip(base, state) == state["commit"] and state["commit"] in left:
        git(base, "symbolic-ref", "HEAD", state["head"])
        return []
    return [f"HEAD is detached, and was on {state['head']} before the sweep; git switch brings it back."]


def _put_back(root: Path, path: Path, copy: Path | None, *, committed: bytes | None) -> list[str]:
    saved = copy.read_bytes() if copy else None
    current = path.read_bytes() if path.is_file() else None
    if current == saved:
        return []
    if path == root / PARAMS and current is not None and saved is not None:
        if current != committed and not _was_expected(root, current):
            (root / ".hsipipe" / BEFORE).write_bytes(saved)
            return [f"{PARAMS} was changed during the sweep and stays; what it was before is in .hsipipe/{BEFORE}."]
    elif path != root / LOCK and current != committed:
        return []  # the user went on working on it
    if copy is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(copy, path)
    return [] if path in (root / PARAMS, root / LOCK) else [f"Brought back the uncommitted change of {path}."]


def _replace(copy: Path, path: Path) -> None:
    from hsipipe.storage.publish import atomic_file

    with atomic_file(path) as temporary:
        shutil.copyfile(copy, temporary)
        shutil.copymode(copy, temporary)


def _was_expected(root: Path, current: bytes) -> bool:
    """Whether this params.yaml says what DVC was told to write; its layout is DVC's."""
    try:
        expected = (_folder(root) / _EXPECTED).read_text(encoding="utf-8")
        return bool(yaml.safe_load(current) == yaml.safe_load(expected))
    except (FileNotFoundError, yaml.YAMLError, UnicodeDecodeError):
        return False


def _tip(base: Path, state: dict[str, str]) -> str | None:
    return git(base, "rev-parse", "--verify", "--quiet", state["head"])


def _committed(base: Path, name: str) -> bytes | None:
    done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=base, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _index(base: Path) -> Path:
    return base / (git(base, "rev-parse", "--git-path", "index") or ".git/index")


def _folder(root: Path) -> Path:
    return root / ".hsipipe" / "before-sweep"
