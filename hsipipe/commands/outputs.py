"""Keep the outputs of a command away from its inputs."""

from collections.abc import Sequence
from pathlib import Path

from hsipipe.errors import HsipipeError, ParamsError
from hsipipe.formats import companions, writer
from hsipipe.storage.urls import Place


def files_of(target: Path) -> list[Path]:
    """List the files that saving a cube to `target` writes: itself, and those beside it, as an ENVI header.

    Raises:
        FileFormatError: No format writes the suffix.
        MissingInputError: The parent folder does not exist.
    """
    return [target, *(target.with_name(target.name + suffix) for suffix in writer(target).beside)]


def check_inputs_stay(outputs: Sequence[Path], inputs: Sequence[Place]) -> None:
    """Check that no output replaces a file of an input cube, or a folder that contains one.

    Args:
        outputs: All files and folders that are written, the result first.
        inputs: Cubes that are read; each stands for all of its files. One that does not exist stands for its path;
            remote ones cannot be replaced.

    Raises:
        ParamsError: An output would replace an input.
    """
    written = {_place(path) for path in outputs}
    for path in (place for place in inputs if isinstance(place, Path)):
        for file in _files(path):
            # A link at an output is replaced, but the file behind a link of an input is read.
            for read in (_place(file), file.resolve()):
                if not written.isdisjoint((read, *read.parents)):
                    raise ParamsError(
                        f"A result would replace the input {file}; choose another name than {outputs[0]}."
                    )


def _files(path: Path) -> list[Path]:
    try:
        return [path, *companions(path)]
    except (HsipipeError, OSError):  # reported when it is opened
        return [path]


def _place(path: Path) -> Path:
    return path.parent.resolve() / path.name
