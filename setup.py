"""Add the pipeline to an editable install; pyproject.toml describes everything else.

The pipeline is code of a checkout, so the wheel holds the library alone. Where the checkout itself is installed,
`tasks` and `flows` are importable from any folder, which workers of Prefect need.
"""

from setuptools import find_packages, setup
from setuptools.command.editable_wheel import editable_wheel


class EditableCheckout(editable_wheel):
    """Build an editable wheel of all packages of the checkout."""

    def finalize_options(self) -> None:
        """Add the packages of the pipeline."""
        super().finalize_options()
        self.distribution.packages += find_packages(include=["tasks*", "flows*"])


setup(cmdclass={"editable_wheel": EditableCheckout})
