"""Notify people of the outcome of a scheduled run: in the log, and at the Apprise URLs of the environment."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hsipipe.errors import ParamsError

if TYPE_CHECKING:
    from apprise import Apprise

URLS = "HSIPIPE_WEBHOOK_URL"
"""Environment variable with Apprise URLs, separated by blanks. They contain secrets: no message shows them."""

Log = logging.Logger | logging.LoggerAdapter[Any]


@dataclass(frozen=True)
class Notification:
    """Outcome of a run.

    Attributes:
        project: Name of the project's folder.
        outcome: Outcome for the champion.
        text: A sentence or two.
        details: Further lines.
    """

    project: str
    outcome: Literal["promoted", "kept", "failed"]
    text: str
    details: Sequence[str] = ()


def check_notifications() -> None:
    """Check the URLs of the environment without sending anything.

    Raises:
        ParamsError: One of them is no Apprise URL.
    """
    _receivers()


def notify(notification: Notification, *, log: Log) -> None:
    """Log a notification and send it to every URL; a failure is logged and stops neither the run nor other receivers.

    Args:
        notification: The outcome.
        log: Log of the run.
    """
    failed = notification.outcome == "failed"
    log.log(logging.ERROR if failed else logging.INFO, "retrain %s: %s", notification.outcome, notification.text)
    try:
        receivers = _receivers()
        if receivers and not receivers.notify(
            title=f"{notification.project}: retrain {notification.outcome}",
            body="\n".join([notification.text, *notification.details]),
            notify_type="failure" if failed else "success" if notification.outcome == "promoted" else "info",
        ):
            log.warning("At least one receiver of %s did not accept the notification.", URLS)
    except Exception as error:  # its text may contain a URL
        log.warning("Cannot send the notification to %s: %s", URLS, type(error).__name__)


def _receivers() -> "Apprise":
    from apprise import Apprise, AppriseAsset

    for name in ("apprise", "urllib3.connectionpool"):  # they log parts of the URLs
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    receivers = Apprise(asset=AppriseAsset(http_redirects=False))  # a redirect would carry the token elsewhere
    for number, url in enumerate(os.environ.get(URLS, "").split(), start=1):
        if not receivers.add(url):
            raise ParamsError(
                f"Got no Apprise URL as entry {number} of {URLS} (its value is not shown), expected for example "
                "jsons://host/path or slack://...; see https://github.com/caronc/apprise/wiki."
            )
    return receivers
