"""The registry's entry for the model of the project."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

from hsipipe.artifacts.base import read_index
from hsipipe.errors import IntegrityError


@dataclass(frozen=True)
class Registration:
    """The registry's entry for the model of the project.

    Attributes:
        PATH: Its file in the project.
        name: Name of the registered model.
        method: The registered method; None: no compared method is trained, so nothing is registered.
        version: Version in the registry.
        alias: Alias that points at this version.
        fuses: It needs an HR-MSI.
    """

    PATH: ClassVar[str] = "reports/registration.json"
    name: str
    method: str | None = None
    version: int | None = None
    alias: str | None = None
    fuses: bool = False

    @property
    def uri(self) -> str:
        """Address of the version by its alias, such as ``models:/hsipipe-cave-x4@challenger``."""
        return f"models:/{self.name}@{self.alias}"

    def as_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read the file of a project.

        Raises:
            MissingInputError: The stage register has not run.
            IntegrityError: The file is damaged.
        """
        path = root / cls.PATH
        try:
            return cls(**read_index(path, stage="register"))
        except TypeError as error:
            raise IntegrityError(f"{path} is damaged ({error}). Run the stage register again.") from error
