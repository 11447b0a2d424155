"""Telling people what a scheduled run came to: in the log always, by a webhook where one is named.

The address is a secret with many services, so it comes from the environment and is never shown.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from hsipipe.errors import ParamsError

URL = "HSIPIPE_WEBHOOK_URL"
"""Environment variable with the address that gets a POST."""
TOKEN = "HSIPIPE_WEBHOOK_TOKEN"
"""Environment variable with a bearer token for it."""
_PATIENCE_S = 10.0

Log = logging.Logger | logging.LoggerAdapter[Any]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class News:
    """What happened.

    Attributes:
        flow: The flow that ran.
        outcome: In one word.
        text: In a sentence or two.
        project: Name of the project's folder.
        details: What else a person may want to know, a line each.
    """

    flow: str
    outcome: Literal["promoted", "kept", "failed"]
    text: str
    project: str
    details: Sequence[str] = ()


class Notifier(Protocol):
    """Brings news to somebody."""

    def send(self, news: News) -> None:
        """Bring it; any exception means that it did not arrive."""


class LogNotifier:
    """Writes news into a log, such as that of the flow's run."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def send(self, news: News) -> None:
        """Write it, a failure as an error."""
        level = logging.ERROR if news.outcome == "failed" else logging.INFO
        self._log.log(level, "%s %s: %s", news.flow, news.outcome, news.text)


class WebhookNotifier:
    """Posts news as JSON; its key ``text`` is what chat services show."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        if not url.startswith(("https://", "http://")):
            raise ParamsError(f"{URL} must begin with https:// or http://; its value is not shown.")
        self._url, self._token = url, token

    def send(self, news: News) -> None:
        """Post it once; an answer other than 2xx is an error, a redirection too."""
        import httpx

        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        tree = {**asdict(news), "details": list(news.details)}
        tree["text"] = f"{news.project}: {news.flow} {news.outcome}. {news.text}"
        answer = httpx.post(self._url, json=tree, headers=headers, timeout=_PATIENCE_S, follow_redirects=False)
        if not answer.is_success:
            raise RuntimeError(f"it answered with status {answer.status_code}")


def notifiers(log: Log = logger) -> list[Notifier]:
    """The log, and the webhook if the environment names one.

    Raises:
        ParamsError: What it names is no address.
    """
    found: list[Notifier] = [LogNotifier(log)]
    if url := os.environ.get(URL):
        found.append(WebhookNotifier(url, token=os.environ.get(TOKEN)))
    return found


def notify(news: News, through: Sequence[Notifier]) -> None:
    """Tell everybody; one that cannot be reached costs no result and keeps no other from hearing."""
    for notifier in through:
        try:
            notifier.send(news)
        except Exception as error:  # its text may hold the address
            logger.warning("%s did not get the news: %s", type(notifier).__name__, type(error).__name__)


def news_of(root: Path, outcome: Literal["promoted", "kept", "failed"], text: str, details: Sequence[str]) -> News:
    """News of the flow `retrain` in a project."""
    return News("retrain", outcome, text, root.name, tuple(details))
