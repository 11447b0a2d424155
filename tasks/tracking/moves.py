"""Moves of the alias `champion`, kept as tags of the registered model, and claims of moves that are not complete.

A tag has the name ``champion.<number>.<token>``, so that no process overwrites the tag of another one. Tags without a
token are of an earlier version.
"""

import calendar
import json
import re
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal, Self

from hsipipe.errors import IntegrityError
from hsipipe.json_text import parse_json
from tasks.running.owner import Life, Owner

CHAMPION = "champion"
LEASE_S = 60.0
"""Longest time between a claim and the move of the alias; after it the process gives its claim up."""
_OLD_S = 600.0
"""Age at which a claim is void although its process cannot be judged; clocks of machines may differ by minutes."""
_KEY = re.compile(rf"{CHAMPION}\.(\d+)(?:\.([0-9a-f]+))?")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


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
class Claim:
    """A move as its process has announced it; the alias follows unless the process loses or is killed.

    Attributes:
        number: Place in the history.
        token: Tells claims of one number apart; empty in tags of an earlier version.
        move: The move.
        host: Machine of the process; empty as the token.
        owner: The process; None as the token.
    """

    number: int
    token: str
    move: Move
    host: str = ""
    owner: Owner | None = None

    @classmethod
    def new(cls, number: int, move: Move) -> Self:
        """Claim a move for this process."""
        return cls(number, uuid.uuid4().hex[:12], move, socket.gethostname(), Owner.me())

    @property
    def key(self) -> str:
        """Name of the tag."""
        return f"{CHAMPION}.{self.number:04d}" + (f".{self.token}" if self.token else "")

    def text(self) -> str:
        """Value of the tag."""
        owner = {} if self.owner is None else {"host": self.host, "owner": asdict(self.owner)}
        return json.dumps({**asdict(self.move), **owner})

    def may_follow(self) -> bool:
        """Return whether the alias may still follow: its process may be at work on it."""
        if self.owner is None or self.owner == Owner.me():  # an earlier attempt of this process has failed
            return False
        life = self.owner.life() if self.host == socket.gethostname() else Life.UNKNOWN
        return life is not Life.GONE and abs(time.time() - calendar.timegm(time.strptime(self.move.at, _TIME))) < _OLD_S


def now_utc() -> str:
    """Return the time for :attr:`Move.at`."""
    return time.strftime(_TIME, time.gmtime())


def read_claims(tags: Mapping[str, str]) -> list[Claim]:
    """Parse the tags of a registered model; return its claims in the order of the history.

    Raises:
        IntegrityError: A tag of the history is damaged; the message names it.
    """
    found = [_claim(key, text, match) for key, text in tags.items() if (match := _KEY.fullmatch(key))]
    return sorted(found, key=lambda claim: (claim.number, claim.token))


def _claim(key: str, text: str, match: re.Match[str]) -> Claim:
    try:
        tree = parse_json(text)
        host, owner = str(tree.pop("host", "")), tree.pop("owner", None)
        move = Move(**tree)
        time.strptime(move.at, _TIME)
        return Claim(int(match[1]), match[2] or "", move, host, None if owner is None else Owner(**owner))
    except (ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(f"The tag {key} of the registered model is damaged ({error}); correct it.") from error


def completed(claims: Sequence[Claim], champion: int | None) -> list[Claim]:
    """Select the claims whose alias followed: the next move starts from their version, and the alias is at the last.

    Args:
        claims: All claims, in the order of the history.
        champion: Version of the alias.
    """
    rounds = [list(group) for _, group in groupby(claims, key=lambda claim: claim.number)]
    ends = [*(group[0].move.previous for group in rounds[1:]), champion]
    found = []
    for group, end in zip(rounds, ends, strict=False):
        winners = [claim for claim in group if claim.move.version == end]
        if not winners and len(group) == 1 and end not in (group[0].move.version, group[0].move.previous):
            winners = group  # another tool has moved the alias since, so this move was completed, too
        found += winners[:1]
    return found
