"""Check for packages of the optional parts of hsipipe."""

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
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        raise MissingExtraError(f'{what} needs {names}, not installed here; run: pip install "hsipipe[pipeline]"')
