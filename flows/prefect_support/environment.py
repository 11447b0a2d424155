"""What Prefect finds in the environment when it is imported; whatever the user has set stays."""

import logging
import os
from pathlib import Path

from hsipipe.credentials import public, without_credentials
from hsipipe.errors import HsipipeError

ENGINE_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


def prepare(root: Path) -> None:
    """Set Prefect's defaults for this project; call it before anything imports prefect.

    Args:
        root: The project; Prefect's database lies in it, so that runs are the project's.
    """
    defaults = {
        "PREFECT_HOME": str(root / ".hsipipe" / "prefect"),
        # The first start migrates an empty database, which takes longer than Prefect waits by default.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # A server that is killed must not forget who holds a deployment's slot: nobody would ever give it back.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if (api := os.environ.get("PREFECT_API_URL")) and without_credentials(api) != api:
        # Prefect says where a run can be looked at, and would take the address with its password for that.
        defaults["PREFECT_UI_URL"] = public(api).rstrip("/").removesuffix("/api")
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # Prefect makes the folder itself but not the one that it lies in, which a fresh clone does not have.
    Path(os.environ["PREFECT_HOME"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ENGINE_LOGGERS:
        logging.getLogger(name).addFilter(without_traceback)


def require_server() -> None:
    """Check that the server of ``PREFECT_API_URL`` answers; a temporary one is made to end with this process.

    Raises:
        HsipipeError: It does not.
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


def without_traceback(record: logging.LogRecord) -> bool:
    """Keep Prefect from printing a traceback for an error that a person can mend; the message stays."""
    if record.exc_info and isinstance(record.exc_info[1], HsipipeError):
        record.exc_info = None
    return True
