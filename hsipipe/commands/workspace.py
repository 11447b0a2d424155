"""Make a workspace: init."""

import shutil
import tomllib
from pathlib import Path
from typing import Annotated

import typer

import hsipipe
from hsipipe.errors import DataError, MissingInputError
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
    typer.echo(f"  cd {folder}")
    typer.echo("  hsipipe pipeline                  # or: dvc repro; trains on synthetic scenes, in minutes")
    typer.echo("  hsipipe info SCENE                # ends with the command for your own cubes")


def make_workspace(folder: Path) -> None:
    """Write the files of a workspace; DVC gets along without git where `folder` lies in no repository.

    Raises:
        DataError: `folder` is a file, or is not empty; nothing is written.
        MissingInputError: This installation lacks the files, or there is no folder for `folder`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is {'not empty' if folder.is_dir() else 'a file'}; name a new or an empty folder.")
    if not folder.absolute().parent.is_dir():
        raise MissingInputError(f"No folder {folder.absolute().parent}; make it, or name another place.")
    try:
        _copy(_sources(), folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _copy(sources: dict[str, Path], folder: Path) -> None:
    for name, source in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=_SKIPPED)
        else:
            shutil.copyfile(source, target)
    if not any((parent / ".git").exists() for parent in folder.absolute().parents):
        (folder / ".dvc" / "config.local").write_text(_WITHOUT_GIT, "utf-8")


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
