"""Make a workspace: init."""

import shlex
import shutil
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

import hsipipe
from hsipipe.errors import DataError, MissingInputError, one_line
from hsipipe.exits import machine_advice
from hsipipe.extras import missing

_PACKAGE = Path(hsipipe.__file__).parent
_DATA = _PACKAGE / "workspace_files"
"""Files of a checkout in the wheel; setup.py puts them there."""
_SKIPPED = shutil.ignore_patterns("__pycache__", "dvc.lock", _DATA.name)
_WITHOUT_GIT = "[core]\n    no_scm = true\n"


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
) -> None:
    """Make a workspace: the graph, its settings, stages and flows, and the code that they run.

    `hsipipe pipeline` and `dvc repro` run there. The workspace has its own copy of the library, which the graph
    watches: a change of it, such as a new method, makes the stages stale that use it. Another version of hsipipe makes
    another workspace.

    [bold]Example[/bold]

      hsipipe init superresolution
    """
    from hsipipe.commands.pipeline_extra import PACKAGES

    make_workspace(folder)
    typer.echo(f"wrote {folder}: the pipeline and its code. Next:")
    if lacking := missing(*PACKAGES):
        typer.echo(f'  pip install "hsipipe[pipeline]"   # it needs {", ".join(lacking)}, not installed here')
    typer.echo(f"  cd {_argument(folder)}")
    typer.echo("  hsipipe pipeline                  # or: dvc repro; trains on synthetic scenes, in minutes")
    typer.echo("  hsipipe info SCENE                # ends with the command for your own cubes")


def make_workspace(folder: Path) -> None:
    """Write the files of a workspace; DVC gets along without git where `folder` lies in no repository.

    They appear at once. On an error nothing is written, and an empty folder stays as it is.

    Raises:
        DataError: `folder` is a file or a dangling link, is not empty, lies in a folder that is copied, or cannot be
            written.
        MissingInputError: This installation lacks the files, or there is no folder for `folder`.
    """
    sources = _sources()
    try:
        _check(folder, sources)
        _make(folder.resolve(), sources)
    except OSError as error:
        if isinstance(error, MissingInputError):
            raise
        # copytree collects its errors: the first says enough.
        first = OSError(error.args[0][0][-1]) if isinstance(error, shutil.Error) else error
        advice = machine_advice(first) or f"{folder} cannot be written: {one_line(first)}; name another place."
        raise DataError(advice) from error


def _check(folder: Path, sources: dict[str, Path]) -> None:
    if folder.is_symlink() and not folder.exists():
        raise DataError(f"{folder} is a link to nothing; name a new or an empty folder.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is {'not empty' if folder.is_dir() else 'a file'}; name a new or an empty folder.")
    if not folder.absolute().parent.is_dir():
        raise MissingInputError(f"No folder {folder.absolute().parent}; make it, or name another place.")
    for source in sources.values():
        if folder.resolve().is_relative_to(source.resolve()):
            raise DataError(f"{folder} lies in {source}, which is copied into a workspace; name a place outside of it.")


def _make(folder: Path, sources: dict[str, Path]) -> None:
    is_new = not folder.exists()
    # In a folder that exists: the one around it may be on another disk, or not writable.
    with TemporaryDirectory(prefix=".hsipipe-init-", dir=folder.parent if is_new else folder) as temporary:
        whole = Path(temporary) / "workspace"
        _copy(sources, whole)
        if not any((parent / ".git").exists() for parent in folder.parents):
            (whole / ".dvc" / "config.local").write_text(_WITHOUT_GIT, "utf-8")
        if is_new:
            whole.rename(folder)
        else:
            _move_entries(whole, folder)


def _copy(sources: dict[str, Path], folder: Path) -> None:
    for name, source in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=_SKIPPED)
        else:
            shutil.copyfile(source, target)


def _move_entries(source: Path, target: Path) -> None:
    """Move what is in a folder into another on the same disk; move it back on an error."""
    moved: list[Path] = []
    try:
        for entry in list(source.iterdir()):
            entry.rename(target / entry.name)
            moved.append(target / entry.name)
    except BaseException:
        for entry in moved:
            entry.rename(source / entry.name)
        raise


def _argument(path: Path) -> str:
    """Return a path as an argument of a shell's command, which is no option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _sources() -> dict[str, Path]:
    """Return files and folders by their place in a workspace: out of the wheel, or of the checkout."""
    settings, root = _PACKAGE.parent / "pyproject.toml", _DATA
    if _DATA.is_dir():
        names = [entry.name for entry in _DATA.iterdir()]
    elif settings.is_file():
        root = _PACKAGE.parent
        names = tomllib.loads(settings.read_text("utf-8"))["tool"]["hsipipe"]["workspace"]
    else:
        raise MissingInputError(f"{_PACKAGE} lacks the files of a workspace; install hsipipe again from its wheel.")
    return {_PACKAGE.name: _PACKAGE, **{name: root / name for name in names}}
