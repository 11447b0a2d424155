"""Trees of parameters as overrides ``group.key=value``."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][\w./-]*|/[\w./-]*", re.ASCII)
_WORDS = {"null", "true", "false", "nan", "inf"}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested groups to dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def as_overrides(tree: Mapping[str, Any]) -> list[str]:
    """Return one ``group.key=value`` per leaf, with blanks only inside of quoted texts."""
    return [f"{key}={_text(value)}" for key, value in flatten(tree).items()]


def notes_on_repeated(overrides: Sequence[str]) -> list[str]:
    """Return a sentence for each key that a user has given more than once, since only the last value counts."""
    pairs = [override.partition("=")[::2] for override in overrides]
    last = {key.strip(): value for key, value in pairs}
    counts = Counter(key.strip() for key, _ in pairs)
    return [
        f"note: {key} is set {number} times; the last value counts, {last[key]}"
        for key, number in counts.items()
        if number > 1
    ]


def _text(value: Any) -> str:
    """Format a value in the grammar of Hydra, whose keys have no quotes, unlike those of JSON."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text(entry) if isinstance(entry, Mapping) else _leaf(entry) for entry in value) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return _leaf(value)


def _leaf(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
