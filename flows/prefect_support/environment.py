"""Set Prefect's environment variables before its import; keep those set by the user."""

import logging
import os
from pathlib import Path

from hsipipe.credentials import public, without_credentials
from hsipipe.errors import HsipipeError

ENGINE_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


def prepare(root: Path) -> None:
    """Set Prefect's defaults for this project; call it before anything imports prefect.

    Args:
        root: The project, which contains Prefect's database.
    """
    defaults = {
        "PREFECT_HOME": str(root / ".hsipipe" / "prefect"),
        # The first start migrates an empty database, which takes longer than Prefect waits by default.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # The leases of deployment slots must survive a killed server, or the slots would never be released.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if (api := os.environ.get("PREFECT_API_URL")) and without_credentials(api) != api:
        # Prefect prints the address of a run, which would contain the password of the API's address.
        defaults["PREFECT_UI_URL"] = public(api).rstrip("/").removesuffix("/api")
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # Prefect creates the folder but not its parent, which a fresh clone lacks.
    Path(os.environ["PREFECT_HOME"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ENGINE_LOGGERS:
        logging.getLogger(name).addFilter(without_traceback)
    logging.getLogger("prefect").addFilter(without_server_lines)


def require_server() -> None:
    """Check that the server of ``PREFECT_API_URL`` answers; without one, tie the temporary server to this process.

    Raises:
        HsipipeError: The server does not answer.
    """
    api = os.environ.get("PREFECT_API_URL")
    if not api:
        from flows.prefect_support.temporary_server import end_with_us

        end_with_us()
        return
    import httpx

    try:
        httpx.get(f"{api}/health", timeout=10).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise HsipipeError(
            f"The Prefect server at {without_credentials(api)} does not answer ({without_credentials(str(error))}); "
            "start it, or correct or unset PREFECT_API_URL."
        ) from error


def without_server_lines(record: logging.LogRecord) -> bool:
    """Log filter: drop the lines on the start and the end of the temporary server."""
    return not str(record.msg).startswith(("Starting temporary server", "Stopping temporary server"))


def without_traceback(record: logging.LogRecord) -> bool:
    """Log filter: drop the traceback of an error that the user can fix; keep its message."""
    if record.exc_info and isinstance(record.exc_info[1], HsipipeError):
        record.exc_info = None
    return True
