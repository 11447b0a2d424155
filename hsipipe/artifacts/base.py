"""A published folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.json_text import parse_json


@dataclass(frozen=True)
class Artifact:
    """A published folder.

    Attributes:
        LOCATION: Its place in the project; ``{item}`` stands for the name of one of several.
        path: The folder.
    """

    LOCATION: ClassVar[str]
    path: Path

    @classmethod
    def in_project(cls, root: Path, item: str = "") -> Self:
        """The artifact of this type in the project at `root`.

        Args:
            root: The project.
            item: Which of several, such as the name of a method.
        """
        return cls(root / cls.LOCATION.format(item=item))


def read_index(path: Path, *, stage: str) -> dict[str, Any]:
    """Read the JSON file that lists what an artifact holds.

    Args:
        path: The file.
        stage: The stage that makes it, for the messages.

    Raises:
        MissingInputError: The artifact was not published.
        IntegrityError: The file is damaged.
    """
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        message = f"No {path.name} in {path.parent}. Run the stage {stage} (dvc repro {stage})."
        raise MissingInputError(message) from error
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error}). Run the stage {stage} again.") from error
