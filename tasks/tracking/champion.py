"""Move the alias `champion`, move it back, and keep the history.

Each move is a tag of the registered model (:mod:`tasks.tracking.moves`), written before the alias moves. A move whose
alias did not follow is ignored, though its tag stays. Of several machines that move at once at most one succeeds, and
the others move nothing, although a registry has no lock: the tag is a claim.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from hsipipe.checkout import locks
from hsipipe.errors import AlreadyRunningError, HsipipeError, MissingInputError
from hsipipe.locks import wait_for
from hsipipe.model_registry.load import SHA256, fetch_pinned, resolve_registered
from hsipipe.model_registry.store import connect, first_line, usable
from tasks.tracking.moves import CHAMPION, LEASE_S, Claim, Move, completed, now_utc, read_claims
from tasks.tracking.register import CHALLENGER

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_REASON_LENGTH = 2000
"""Longest reason, in characters: MLflow limits tags to 5000."""


@dataclass(frozen=True)
class Standing:
    """State of a registered model at one moment.

    Attributes:
        champion: Version of the alias; None: no such alias.
        challenger: Version of the alias; None: no such alias.
        versions: Tags of each version.
        claims: All moves of the champion, oldest first, including those that did not complete.
    """

    champion: int | None
    challenger: int | None
    versions: Mapping[int, Mapping[str, str]]
    claims: Sequence[Claim]

    @property
    def moves(self) -> list[Move]:
        """Return the completed moves, oldest first."""
        return [claim.move for claim in completed(self.claims, self.champion)]

    @property
    def numbered(self) -> int:
        """Return the number of the last move, complete or not."""
        return max((claim.number for claim in self.claims), default=0)

    @property
    def pending(self) -> list[Claim]:
        """Return the claims of the last number if none of them is complete."""
        last = [claim for claim in self.claims if claim.number == self.numbered]
        done = completed(self.claims, self.champion)
        return [] if any(claim in done for claim in last) else last

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
        _require_nobody(name, [claim for claim in now.pending if claim.may_follow()])
        for key, value in evidence.items():
            client.set_model_version_tag(name, str(version), key, str(value))
        move = Move(version, now.champion, kind, reason[:_REASON_LENGTH], now_utc(), by_hand)
        _claim_and_move(client, name, Claim.new(now.numbered + 1, move))
    return move


def _claim_and_move(client: "MlflowClient", name: str, claim: Claim) -> None:
    """Move the alias as claimed, unless another process claims the same move.

    The claim is written before the claims of others are read. Of two claims, the later one is therefore read together
    with the earlier one, so at most one process finds itself alone.

    Raises:
        AlreadyRunningError: Another process is moving the champion; this one moves nothing.
        HsipipeError: The registry has not answered in time, and nothing moved; or another tool has moved the champion
            at the same moment.
    """
    begun = time.monotonic()
    client.set_registered_model_tag(name, claim.key, claim.text())
    try:
        now = _standing(client, name)
        _require_nobody(name, _rivals(now, claim))
        if now.champion != claim.move.previous or time.monotonic() - begun > LEASE_S:
            raise HsipipeError(f"The champion of {name} has moved, or its registry was slow; nothing moved. Try again.")
    except BaseException:
        with suppress(Exception):
            client.delete_registered_model_tag(name, claim.key)
        raise
    client.set_registered_model_alias(name, CHAMPION, str(claim.move.version))
    now = _standing(client, name)
    if claim.key not in {done.key for done in completed(now.claims, now.champion)}:
        raise HsipipeError(
            f"The champion of {name} was moved at the same moment by another process, and is version {now.champion} "
            "now; look at it (hsipipe models)."
        )


def _rivals(now: Standing, mine: Claim) -> list[Claim]:
    return [claim for claim in now.claims if claim.number >= mine.number and claim.token != mine.token]


def _require_nobody(name: str, others: Sequence[Claim]) -> None:
    if others:
        other = others[0]
        raise AlreadyRunningError(
            f"Another process ({other.host or 'unknown host'}, since {other.move.at}) is moving the champion of {name} "
            f"to version {other.move.version}; nothing moved. Look at it (hsipipe models), then try again."
        )


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
    return Standing(aliases.get(CHAMPION), aliases.get(CHALLENGER), versions, read_claims(model.tags))


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
