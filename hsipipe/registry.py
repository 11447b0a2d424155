"""Registry: a readable table of names whose objects are imported on first use."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

from hsipipe.errors import UnknownNameError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Maps names to objects given as ``"module:attribute"``.

    Args:
        kind: Kind of the objects in messages ("dataset", "model").
        table: Name to ``"package.module:attribute"``.
    """

    def __init__(self, kind: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self._table = dict(table)

    def __getitem__(self, name: str) -> T:
        """Import and return the object `name`.

        Raises:
            UnknownNameError: The name is not in the table; the message lists the names.
        """
        self.check(name)
        return cast(T, resolve(self._table[name]))

    def check(self, name: str) -> None:
        """Refuse a name that is not in the table, without importing anything.

        Raises:
            UnknownNameError: With the names that there are, and the closest one.
        """
        if name not in self._table:
            raise unknown_name(self.kind, name, sorted(self._table))

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, name: object) -> bool:
        return name in self._table


def unknown_name(kind: str, name: str, known: Sequence[str]) -> UnknownNameError:
    """Return the error for a name that is not known, with the known ones and the closest of them.

    Args:
        kind: Kind of what is named ("data set").
        name: The name.
        known: The names that there are.
    """
    close = get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} Known {kind}s: {', '.join(known)}.")


def resolve(target: str) -> Any:
    """Import the object that ``"package.module:attribute"`` names."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
