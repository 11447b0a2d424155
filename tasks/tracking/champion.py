"""Move the alias `champion`, move it back, and keep the history.

Each move is a tag of the registered model, ``champion.0001`` and so on, written before the alias moves. A move whose
alias did not follow is ignored, though its tag stays. Only one machine at a time may move the champion of a model: the
lock is local to the checkout, since a registry has none.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from hsipipe.errors import HsipipeError, MissingInputError
from tasks.running.locks import wait_for
from tasks.running.project import locks
from tasks.tracking.load import fetch_pinned, resolve_registered
from tasks.tracking.register import CHALLENGER, SHA256
from tasks.tracking.store import connect, first_line, usable

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CHAMPION = "champion"
_REASON_LENGTH = 2000
"""Longest reason, in characters: MLflow limits tags to 5000."""
_MOVE = re.compile(rf"{CHAMPION}\.(\d+)")


@dataclass(frozen=True)
class Move:
    """Move of the alias `champion`.

    Attributes:
        version: New champion.
        previous: Champion before; None: no champion.
        kind: Promotion, by the gate or by hand, or rollback to an earlier version.
        reason: Reason in a sentence.
        at: Time, UTC.
        by_hand: True for a user's decision without the gate.
    """

    version: int
    previous: int | None
    kind: Literal["promotion", "rollback"]
    reason: str
    at: str
    by_hand: bool


@dataclass(frozen=True)
class Standing:
    """State of a registered model at one moment.

    Attributes:
        champion: Version of the alias; None: no such alias.
        challenger: Version of the alias; None: no such alias.
        versions: Tags of each version.
        moves: All moves of the champion, oldest first.
        numbered: Number of move tags, including moves that did not complete.
    """

    champion: int | None
    challenger: int | None
    versions: Mapping[int, Mapping[str, str]]
    moves: Sequence[Move]
    numbered: int

    @property
    def sha256(self) -> dict[int, str]:
        """Return the digest of each version that has one."""
        return {number: tags[SHA256] for number, tags in self.versions.items() if SHA256 in tags}

    @property
    def withdrawn(self) -> list[int]:
        """Return versions rolled back and not made champion since; the gate does not promote them."""
        found: set[int] = set()
        for move in self.moves:
            if move.kind == "rollback" and move.previous is not None:
                found.add(move.previous)
            found.discard(move.version)
        return sorted(found)


def registered_names(root: Path) -> list[str]:
    """Return the names of all registered models, sorted."""
    return sorted(model.name for model in connect(root).search_registered_models())


def standing(root: Path, name: str) -> Standing:
    """Read the state of a registered model.

    Raises:
        MissingInputError: No such model.
        HsipipeError: The store cannot be reached.
    """
    client = connect(root)
    with usable(root):
        return _standing(client, name)


def promote(
    root: Path,
    name: str,
    version: int,
    *,
    expected: Standing,
    reason: str,
    evidence: Mapping[str, object],
    by_hand: bool = False,
) -> Move:
    """Make a version the champion; the alias moves last.

    Args:
        root: The project.
        name: The registered model.
        version: Version to promote.
        expected: State of the registry at the decision.
        reason: Reason for the history.
        evidence: Tags of the version with the evidence.
        by_hand: Decided by a user, who may also promote a version that was rolled back.

    Raises:
        MissingInputError: No such version.
        IntegrityError: Its bytes differ from the registered ones; nothing moved.
        HsipipeError: The champion has moved since, or the version was rolled back; nothing moved.
    """
    if version in expected.withdrawn and not by_hand:
        raise HsipipeError(
            f"Version {version} of {name} was rolled back; promote it by hand to use it again (hsipipe promote)."
        )
    return _move(
        root, name, version, kind="promotion", reason=reason, evidence=evidence, expected=expected, by_hand=by_hand
    )


def rollback(root: Path, name: str, *, to: int | None = None, reason: str) -> Move:
    """Make the previous champion the champion again, and exclude the present one from the gate.

    A second rollback goes back one more version.

    Args:
        root: The project.
        name: The registered model.
        to: Version to make the champion instead.
        reason: Reason for the history.

    Raises:
        MissingInputError: No champion, no previous champion, or no such version.
        IntegrityError: Its bytes differ from the registered ones; nothing moved.
    """
    now = standing(root, name)
    if now.champion is None:
        raise MissingInputError(f"{name} has no champion, so there is nothing to roll back.")
    target = to if to is not None else _before(now)
    if target is None:
        raise MissingInputError(
            f"Version {now.champion} is the first champion of {name}; name another version with --to."
        )
    if target == now.champion:
        raise HsipipeError(f"Version {target} of {name} is already the champion.")
    return _move(root, name, target, kind="rollback", reason=reason, evidence={}, expected=now, by_hand=True)


def _move(
    root: Path,
    name: str,
    version: int,
    *,
    kind: Literal["promotion", "rollback"],
    reason: str,
    evidence: Mapping[str, object],
    expected: Standing,
    by_hand: bool,
) -> Move:
    with TemporaryDirectory(prefix="hsipipe-model-") as place:
        fetch_pinned(root, resolve_registered(root, f"models:/{name}/{version}"), Path(place))
    client = connect(root)
    with wait_for(locks(root) / "registry.lock"), usable(root):
        now = _standing(client, name)
        if (now.champion, now.moves) != (expected.champion, expected.moves):
            raise HsipipeError(
                f"The champion of {name} is version {now.champion} now and was {expected.champion} at the start; look "
                "at it (hsipipe models), then try again."
            )
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        move = Move(version, now.champion, kind, reason[:_REASON_LENGTH], at, by_hand)
        for key, value in evidence.items():
            client.set_model_version_tag(name, str(version), key, str(value))
        client.set_registered_model_tag(name, f"{CHAMPION}.{now.numbered + 1:04d}", json.dumps(asdict(move)))
        client.set_registered_model_alias(name, CHAMPION, str(version))
    return move


def _standing(client: "MlflowClient", name: str) -> Standing:
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        names = ", ".join(model.name for model in client.search_registered_models()) or "none"
        raise MissingInputError(
            f"No model {name!r}: {first_line(error).rstrip('.')}. Registered models: {names}."
        ) from error
    aliases = {alias: int(version) for alias, version in model.aliases.items()}
    versions = {int(version.version): version.tags for version in client.search_model_versions(f"name = '{name}'")}
    tags = sorted((int(found[1]), text) for key, text in model.tags.items() if (found := _MOVE.fullmatch(key)))
    moves = [Move(**json.loads(text)) for _, text in tags]
    champion = aliases.get(CHAMPION)
    return Standing(champion, aliases.get(CHALLENGER), versions, _happened(moves, champion), tags[-1][0] if tags else 0)


def _happened(moves: Sequence[Move], champion: int | None) -> list[Move]:
    """Select the completed moves: the next move starts from their version, and the alias is at the last one."""
    ends = [*(move.previous for move in moves[1:]), champion][: len(moves)]
    return [
        move
        for move, end in zip(moves, ends, strict=True)
        # If another tool has moved the alias since, the last move was completed, too.
        if move.version == end or end not in (move.version, move.previous)
    ]


def _before(now: Standing) -> int | None:
    """Return the previous champion that was not rolled back."""
    line = [move.previous for move in now.moves[:1] if move.previous is not None]
    for move in now.moves:
        if move.kind == "rollback" and move.version in line:
            del line[line.index(move.version) + 1 :]
        elif not line or line[-1] != move.version:
            line.append(move.version)
    earlier = [version for version in line if version != now.champion and version not in now.withdrawn]
    return earlier[-1] if earlier else None
