"""Track the open flow runs of this checkout and close those whose process was killed.

A run reports its end to Prefect by itself. A killed run stays RUNNING and keeps the slot of its deployment.
Each run therefore writes a note with its process, and the next start closes the runs whose process is gone.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.prefect_support.temporary_server import end_with_us
from hsipipe.checkout import find_root
from hsipipe.credentials import public
from hsipipe.errors import HsipipeError
from hsipipe.json_text import parse_json
from hsipipe.storage.publish import write_text
from tasks import tracking
from tasks.running.owner import Life, Owner

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

logger = logging.getLogger(__name__)

KILLED = "Its process is gone: it was killed, or the machine went down."
_ELSEWHERE = (
    "belongs to another container or machine, where its process may live, and stays open. If it does not live: "
    "hsipipe reconcile --elsewhere"
)
_BATCH = 200
"""Largest number of runs in one response of a Prefect server."""
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Note:
    """Note of an open flow run.

    Attributes:
        id: Prefect's id of the run, unique across servers.
        name: Readable name of the run.
        host: Machine of the run.
        pid: Process id, see :class:`tasks.running.owner.Owner`.
        created: Start of that process.
        api: Address of its server without credentials; None: temporary server of the checkout.
    """

    id: str
    name: str
    host: str
    pid: int
    created: str
    api: str | None

    def life(self) -> Life:
        """Judge whether its process still runs."""
        return Owner(self.pid, self.created).life() if self.host == socket.gethostname() else Life.UNKNOWN


def note_run(root: Path) -> None:
    """Write the note of the current flow run; a flow calls it first.

    Args:
        root: The project.
    """
    from prefect.context import get_run_context

    run: Any = getattr(get_run_context(), "flow_run", None)
    me = Owner.me()
    note = Note(str(run.id), str(run.name), socket.gethostname(), me.pid, me.created, _current_api())
    write_text(_path(root, note.id), json.dumps(asdict(note)) + "\n")


def forget_run(flow: Any, flow_run: Any, state: Any) -> None:
    """Remove the note of a finished run; a hook of the flow, called after Prefect has recorded the end."""
    _path(find_root(), str(flow_run.id)).unlink(missing_ok=True)


def close_dead_runs(root: Path, *, elsewhere: bool = False) -> tuple[list[str], list[str]]:
    """Set runs whose process is gone to Crashed, with their tasks, which frees their deployment slots.

    Runs in other containers and on other machines, of living processes, or of a server that does not answer stay open.

    Args:
        root: The project; :func:`flows.prefect_support.environment.prepare` was called for it.
        elsewhere: Also close the runs of other containers and machines.

    Returns:
        A sentence for each closed run, and one for each run that cannot be closed now.
    """
    closable = {Life.GONE, Life.UNKNOWN} if elsewhere else {Life.GONE}
    waiting = [note for note in _notes(root) if note.life() in closable]
    if not waiting:
        return [], []
    said: list[str] = []
    if _answers(os.environ.get("PREFECT_API_URL")):
        with _client() as client:
            waiting = _close(root, waiting, client, said, at=_current_api())
    for api in sorted({note.api for note in waiting if note.api is not None and note.api != _current_api()}):
        mine = [note for note in waiting if note.api == api]
        if not _answers(api):
            continue
        with _client(api) as client:
            left = _close(root, mine, client, said, at=api)
        waiting = [note for note in waiting if note.api != api or note in left]
    return said, [f"{note.name} ({note.id}) stays open: {_where(note.api)} does not answer." for note in waiting]


def close_and_tell(root: Path) -> None:
    """Call :func:`close_dead_runs` at the start of another command; log the result."""
    closed, left = close_dead_runs(root)
    for sentence in (*closed, *left):
        logger.warning(sentence)


def reconcile_all(root: Path, *, elsewhere: bool = False, say: Callable[[str], object]) -> None:
    """Close the dead runs of this checkout in MLflow and in Prefect.

    Args:
        root: The project; :func:`flows.prefect_support.environment.prepare` was called for it.
        elsewhere: Also close the runs whose process cannot be judged from here, as in another container.
        say: Called with a sentence for each closed run, or one if there was none.

    Raises:
        HsipipeError: A store or server does not answer; its runs stay open.
    """
    said: list[str] = []
    left: list[str] = []
    try:
        found = tracking.close_dead_runs(root, elsewhere=elsewhere)
        said = [f"MLflow: {name} was left open by a killed process and is closed as KILLED." for name in found.closed]
        said += [f"MLflow: {name} {_ELSEWHERE}" for name in found.undecided]
    except HsipipeError as error:
        left.append(str(error))
    closed, stay = close_dead_runs(root, elsewhere=elsewhere)
    if not elsewhere:
        said += [f"Prefect: {note.name} {_ELSEWHERE}" for note in _notes(root) if note.life() is Life.UNKNOWN]
    for sentence in (*said, *(f"Prefect: {sentence}" for sentence in closed)):
        say(sentence)
    if left or stay:
        raise HsipipeError(" ".join([*left, *stay]))
    if not said and not closed:
        say("Nothing was left open by a killed process.")


def _close(
    root: Path, notes: Sequence[Note], client: "SyncPrefectClient", said: list[str], *, at: str | None
) -> list[Note]:
    """Close the runs known to the server; return the others."""
    from httpx import HTTPError
    from prefect.exceptions import ObjectNotFound

    left = []
    for number, note in enumerate(notes):
        try:
            if _crash(client, UUID(note.id)):
                said.append(f"{note.name} ({note.id}) was left open by a killed process and is closed as Crashed.")
        except ObjectNotFound:
            if note.api != at:  # belongs to another server
                left.append(note)
                continue
        except (HTTPError, OSError, RuntimeError):
            return [*left, *notes[number:]]
        _path(root, note.id).unlink(missing_ok=True)
    return left


def _crash(client: "SyncPrefectClient", run_id: UUID) -> bool:
    """Close a run and its tasks; return whether the run was open."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, TaskRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    run = client.read_flow_run(run_id)
    open_states = {"state": {"type": {"any_": [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]}}}
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    while tasks := client.read_task_runs(
        flow_run_filter=of_run, task_run_filter=TaskRunFilter.model_validate(open_states), limit=_BATCH
    ):
        for task in tasks:
            client.set_task_run_state(task.id, Crashed(message=KILLED), force=True)
    if run.state is not None and run.state.is_final():
        return False
    client.set_flow_run_state(run_id, Crashed(message=KILLED), force=True)
    return True


def _answers(api: str | None) -> bool:
    """Return whether the server answers; Prefect's client would retry for 30 s. None: a temporary one starts."""
    import httpx

    try:
        return not api or httpx.get(f"{api}/health", timeout=_PATIENCE_S).status_code < 500
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


@contextmanager
def _client(api: str | None = None) -> Iterator["SyncPrefectClient"]:
    """Open a client of the server at `api` without credentials, or of this process's server with its credentials."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL, temporary_settings

    here = os.environ.get("PREFECT_API_URL")
    if api is None:
        settings: dict[Any, Any] = {PREFECT_API_URL: here} if here else {}
    else:  # credentials belong to one server alone
        settings = {PREFECT_API_URL: api, PREFECT_API_KEY: None, PREFECT_API_AUTH_STRING: None}
    if not here:
        end_with_us()
    with temporary_settings(updates=settings), get_client(sync_client=True) as client:
        yield client


def _current_api() -> str | None:
    from prefect.settings import PREFECT_API_URL

    given = os.environ.get("PREFECT_API_URL") or PREFECT_API_URL.value()
    return public(given) if given else None


def _notes(root: Path) -> list[Note]:
    found = []
    for path in sorted(_path(root, "x").parent.glob("*.json")):
        try:
            found.append(Note(**parse_json(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            logger.warning("Skip %s, which is not a note of a flow run; remove it.", path)
    return found


def _path(root: Path, run_id: str) -> Path:
    return root / ".hsipipe" / "flow_runs" / f"{run_id}.json"


def _where(api: str | None) -> str:
    return "the temporary server of this checkout" if api is None else f"the Prefect server at {api}"
