"""Commands of the pipeline: its code is in a checkout of the project, its packages in the extra `pipeline`."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

import hsipipe
from hsipipe.checkout import find_root
from hsipipe.errors import MissingInputError
from hsipipe.extras import require_packages

PACKAGES = ("prefect", "dvc", "mlflow")
_CODE = Path("flows") / "commands"


class NeedsPipeline(TyperCommand):
    """A command of ``flows``: it names what is missing before it does anything."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            MissingExtraError: A package of the extra is not installed.
        """
        require_packages(*PACKAGES, what=f"`hsipipe {self.name}`")
        return super().invoke(ctx)


class Absent(TyperCommand):
    """A command of the pipeline in an installed library: the checkout of the working directory runs it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        # The checkout knows the options, --help included.
        super().__init__(*args, **{**kwargs, "context_settings": settings, "add_help_option": False})

    def invoke(self, ctx: Any) -> Any:
        """Replace this process by the command line of the checkout.

        Raises:
            MissingExtraError: A package of the extra is not installed.
            MissingInputError: The working directory is in no checkout.
        """
        require_packages(*PACKAGES, what=f"`hsipipe {self.name}`")
        root = find_root()
        if not (root / _CODE).is_dir():
            raise MissingInputError(f"{root} has no {_CODE}; run `hsipipe {self.name}` in a checkout of the project.")
        # The stages run the code that the graph watches, which is that of the checkout.
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        arguments = [sys.executable, "-m", "flows", *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONPATH": path})


def own_pipeline() -> Any:
    """Return ``flows.__main__`` of the checkout that this library lies in; None where it is installed by itself."""
    code = Path(hsipipe.__file__).parents[1] / _CODE
    return import_module("flows.__main__") if code.is_dir() else None
