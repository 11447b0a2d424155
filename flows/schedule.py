"""Serving the pipeline on a schedule."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

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
    timeout_minutes: float | None = None,
) -> None:
    """Serve the deployment ``pipeline/scheduled`` or ``retrain/scheduled`` until interrupted.

    One run at a time: a run that falls due while another is going on is cancelled, not queued.

    Args:
        name: The flow.
        interval_s: Seconds between two runs.
        cron: A cron expression; given instead of the interval.
        timeout_minutes: A run that takes longer is ended, its whole process group.
    """
    from prefect import serve as serve_deployments
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    from flows.pipeline import pipeline
    from flows.retrain import retrain

    flows: dict[str, Any] = {"pipeline": pipeline, "retrain": retrain}
    deployment = RunnerDeployment.from_flow(
        flows[name],
        DEPLOYMENT,
        parameters={"timeout_minutes": timeout_minutes},
        interval=None if interval_s is None else timedelta(seconds=interval_s),
        cron=cron,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        # A module rather than a file: found from whatever folder this was started in.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    # A schedule that is paused at every stop would stay paused after a restart of the machine.
    serve_deployments(deployment, pause_on_shutdown=False, limit=1)


def check_cron(cron: str | None) -> None:
    """Check a cron expression before anything is started for it.

    Raises:
        ParamsError: It is none.
    """
    from prefect.client.schemas.schedules import CronSchedule

    try:
        if cron is not None:
            CronSchedule(cron=cron)
    except ValueError as error:
        raise ParamsError(f"--cron takes five fields such as '0 2 * * *', got {cron!r}.") from error


@contextmanager
def server(root: Path) -> Iterator[str]:
    """The Prefect server to talk to: ``PREFECT_API_URL``, else one of our own on this machine alone.

    Prefect's temporary server runs flows but no schedules, silently; so a real one is started.

    Yields:
        The URL of its API.
    """
    if given := os.environ.get("PREFECT_API_URL"):
        yield given
        return
    port = PORT if _is_free(PORT) else _free_port()
    address = f"http://{HOST}:{port}"
    child = start("prefect", "server", "start", "--host", HOST, "--port", str(port), cwd=root, capture=False)
    try:
        _wait_until_healthy(child, f"{address}/api")
        yield f"{address}/api"
    finally:
        end_group(child)


def _wait_until_healthy(child: "subprocess.Popen[str]", api: str) -> None:
    import httpx

    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise HsipipeError(f"The Prefect server ended with exit code {child.returncode}; see its message above.")
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
