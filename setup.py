"""Add the pipeline to an editable install, and its files as data to the wheel; pyproject.toml describes the rest.

The pipeline is code of a checkout. Where the checkout itself is installed, `tasks` and `flows` are importable from any
folder, which workers of Prefect need. The wheel holds the package of the library alone, whose data are the files that
`hsipipe init` copies.
"""

import shutil
import tomllib
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hsipipe"]


class EditableCheckout(editable_wheel):
    """Build an editable wheel of all packages of the checkout."""

    def finalize_options(self) -> None:
        """Add the packages of the pipeline."""
        super().finalize_options()
        self.distribution.packages += find_packages(include=["tasks*", "flows*"])


class WithWorkspace(build_py):
    """Copy the files of a workspace into the package; an editable install has them in the checkout."""

    def run(self) -> None:
        """Build the package."""
        super().run()
        if self.editable_mode:
            return
        shutil.rmtree(self._place(), ignore_errors=True)
        for source in workspace_files():
            target = self._place() / source
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, target)

    def get_source_files(self) -> list[str]:
        """List what a source distribution holds."""
        return [*super().get_source_files(), *map(str, workspace_files())]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """List what is built."""
        made = [] if self.editable_mode else [str(self._place() / source) for source in workspace_files()]
        return [*super().get_outputs(include_bytecode), *made]

    def _place(self) -> Path:
        return Path(self.build_lib) / SETTINGS["workspace-data"]


def workspace_files() -> list[Path]:
    """List the files of a workspace relative to the checkout."""
    entries = [ROOT / name for name in SETTINGS["workspace"]]
    found = [file for entry in entries for file in ([entry] if entry.is_file() else sorted(entry.rglob("*")))]
    return [
        file.relative_to(ROOT)
        for file in found
        if file.is_file() and "__pycache__" not in file.parts and file.name != "dvc.lock"
    ]


setup(cmdclass={"editable_wheel": EditableCheckout, "build_py": WithWorkspace})
