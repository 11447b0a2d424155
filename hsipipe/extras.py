"""Check for packages of the optional parts of hsipipe."""

from collections.abc import Sequence
from importlib.util import find_spec

from hsipipe.errors import MissingExtraError


def require_packages(*packages: str, what: str) -> None:
    """Check that packages of the extra `pipeline` are installed, without importing them.

    Args:
        packages: Their names.
        what: Subject of the error message.

    Raises:
        MissingExtraError: One is not installed.
    """
    if lacking := missing(*packages):
        raise MissingExtraError(f"{what} {how_to_install(lacking)}")


def missing(*packages: str) -> list[str]:
    """Return those of the packages that are not installed."""
    return [name for name in packages if find_spec(name) is None]


def how_to_install(packages: Sequence[str]) -> str:
    """Return the end of a sentence about what needs the packages."""
    return f'needs {", ".join(packages)}, not installed here; run: pip install "hsipipe[pipeline]"'
