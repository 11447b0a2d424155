"""Serve the pipeline on a schedule."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hsipipe.credentials import without_credentials
from hsipipe.errors import HsipipeError, ParamsError
from tasks.running.process import end_group, start

HOST = "127.0.0.1"
PORT = 4200
DEPLOYMENT = "scheduled"
STARTUP_S = 120.0


def serve(
    name: Literal["pipeline", "retrain"],
    *,
    interval_s: float | None,
    cron: str | None,
    timezone: str | None = None,
    timeout_minutes: float | None = None,
) -> None:
    """Serve the deployment ``pipeline/scheduled`` or ``retrain/scheduled`` until interrupted.

    One run at a time: a run due while another is running is cancelled, not queued.

    Args:
        name: The flow.
        interval_s: Seconds between two runs.
        cron: Cron expression, instead of the interval.
        timezone: Time zone of the cron expression; None: that of this machine.
        timeout_minutes: Time limit of a run; its whole process group is stopped.
    """
    from prefect import serve as serve_deployments
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    from flows.pipeline import pipeline
    from flows.retrain import retrain

    flows: dict[str, Any] = {"pipeline": pipeline, "retrain": retrain}
    deployment = RunnerDeployment.from_flow(
        flows[name],
        DEPLOYMENT,
        parameters={"timeout_minutes": timeout_minutes},
        interval=None if interval_s is None else timedelta(seconds=interval_s),
        schedule=None if cron is None else Cron(cron, timezone=timezone or local_timezone()),
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        # A module is found from any working directory; a file is not.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    # A schedule paused at every stop would stay paused after a reboot.
    serve_deployments(deployment, pause_on_shutdown=False, limit=1, print_starting_message=False)


def check_cron(cron: str, timezone: str) -> None:
    """Check a cron expression and its time zone before anything starts.

    Raises:
        ParamsError: Invalid cron expression, or unknown time zone.
    """
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=cron)
    except ValueError as error:
        raise ParamsError(f"--cron takes five fields such as '0 2 * * *', got {cron!r}.") from error
    try:
        CronSchedule(cron=cron, timezone=timezone or "none")
    except ValueError as error:
        raise ParamsError(f"--timezone takes a name such as Europe/Berlin or UTC, got {timezone!r}.") from error


def local_timezone() -> str:
    """Return the name of this machine's time zone, such as Europe/Berlin.

    Raises:
        ParamsError: The machine's time has no name in the IANA database.
    """
    from tzlocal import get_localzone_name

    now = datetime.now(UTC)
    try:
        name = str(get_localzone_name())
        # For a TZ such as JST-9 the library gives the zone of /etc/localtime.
        is_right = now.astimezone().utcoffset() == now.astimezone(ZoneInfo(name)).utcoffset()
    except ZoneInfoNotFoundError:
        is_right = False
    if not is_right:
        raise ParamsError(
            f"The time zone of this machine ({now.astimezone().tzname()}) has no name; give --timezone, for example "
            "Europe/Berlin or UTC."
        )
    return name


@contextmanager
def server(root: Path) -> Iterator[str]:
    """Use the Prefect server of ``PREFECT_API_URL``, else start one that listens on this machine alone.

    Prefect's temporary server silently ignores schedules, so a full server is started.

    Yields:
        URL of the API.
    """
    if given := os.environ.get("PREFECT_API_URL"):
        yield given
        return
    port = PORT if _is_free(PORT) else _free_port()
    address = f"http://{HOST}:{port}"
    command = ("prefect", "server", "start", "--host", HOST, "--port", str(port))
    # Its stdout is a banner, and the reason if it cannot start.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        child = start(*command, cwd=root, capture=False, stdout=said)
        try:
            _wait_until_healthy(child, f"{address}/api", said)
            yield f"{address}/api"
        finally:
            end_group(child)


def _wait_until_healthy(child: "subprocess.Popen[str]", api: str, said: IO[str]) -> None:
    import httpx

    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            said.seek(0)
            sys.stderr.write(without_credentials(said.read()))
            raise HsipipeError(f"The Prefect server stopped with exit code {child.returncode}; its message is above.")
        try:
            if httpx.get(f"{api}/health", timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise HsipipeError(f"The Prefect server at {api} did not answer within {STARTUP_S:.0f} s.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
