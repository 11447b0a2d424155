"""Write params.yaml: replace only the changed values, and undo the changes of a failed run."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hsipipe.checkout import PARAMS
from hsipipe.errors import ParamsError
from hsipipe.storage.publish import write_text

logger = logging.getLogger(__name__)

BEFORE = "params.before.yaml"
"""File in ``.hsipipe`` with the text from before the overrides."""
_DURING = "params.during.yaml"
"""Next to it, the file with the overridden text; it exists while a run has not succeeded yet."""


def with_values(text: str, tree: Mapping[str, Any]) -> str:
    """Replace the values that differ from `tree`; every other byte stays, comments and quotes included.

    Args:
        text: A YAML mapping.
        tree: Plain values with all keys of `text`, and possibly more.

    Raises:
        ParamsError: The form of `text` does not allow it.
    """
    edits: dict[tuple[int, int], str] = {}
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is not None:
        _collect(node, _plain(yaml.safe_load(text)), tree, edits)
    for (start, end), value in sorted(edits.items(), reverse=True):
        text = f"{text[:start]}{value}{text[end:]}"
    try:
        written = _plain(yaml.safe_load(text))
    except yaml.YAMLError:
        written = None
    if written != tree:  # an alias, for example
        raise ParamsError(f"Cannot write these overrides into the form of {PARAMS}; edit the file instead of using -S.")
    return text


@contextmanager
def replaced(root: Path, text: str) -> Iterator[None]:
    """Write `text` to params.yaml; keep it if the body succeeds, else undo it by :func:`restore`."""
    folder = root / ".hsipipe"
    write_text(folder / BEFORE, (root / PARAMS).read_text(encoding="utf-8"))
    write_text(folder / _DURING, text)
    write_text(root / PARAMS, text)
    try:
        yield
    except BaseException:
        restore(root)
        raise
    (folder / _DURING).unlink()
    (folder / BEFORE).unlink()


def restore(root: Path) -> None:
    """Undo the overrides of a run that failed or was killed, with a line in the log; keep an edit made since."""
    folder = root / ".hsipipe"
    try:
        during = (folder / _DURING).read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    before = (folder / BEFORE).read_text(encoding="utf-8")
    now = (root / PARAMS).read_text(encoding="utf-8")
    if now not in (during, before):
        logger.warning(
            "Keep %s, which was edited during or after a run with overrides that did not succeed; the text from before "
            "that run is in .hsipipe/%s.",
            PARAMS,
            BEFORE,
        )
        (folder / _DURING).unlink()
        return
    write_text(root / PARAMS, before)
    (folder / _DURING).unlink()
    (folder / BEFORE).unlink()
    logger.warning("Restore %s: the run with overrides did not succeed.", PARAMS)


def _collect(node: yaml.Node, old: Any, new: Any, edits: dict[tuple[int, int], str]) -> None:
    if json.dumps(old) == json.dumps(new):  # tells 1 from 1.0 and True, as == does not
        return
    start, end = node.start_mark, _end(node)
    is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    indent = "\n" + " " * start.column
    if is_block and isinstance(node, yaml.MappingNode) and isinstance(new, Mapping):
        for key, value in node.value:
            if key.value in old:  # not a merge key
                _collect(value, old[key.value], new[key.value], edits)
        added = [f"{key}: {_flow(value)}{indent}" for key, value in new.items() if key not in old]
        edits[start.index, start.index] = "".join(added)
    elif is_block and isinstance(node, yaml.SequenceNode) and isinstance(new, list) and new:
        edits[start.index, end] = indent.join(f"- {_flow(item)}" for item in new)
    else:
        edits[start.index, end] = " " * (start.index == end) + _flow(new)  # `key:` alone is a null without a blank


def _end(node: yaml.Node) -> int:
    """Return the index after the node; for a block collection, PyYAML's end is after the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 20)
    return text.removesuffix("...\n").rstrip("\n")


def _plain(tree: Any) -> Any:
    """Return the tree with string keys, as in JSON."""
    return json.loads(json.dumps(tree))
