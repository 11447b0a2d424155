"""Notifications arrive, or their failure stops nothing and shows no secret."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hsipipe.errors import ParamsError
from tasks.retraining.notifications import URLS, Notification, check_notifications, notify

# Apprise imports a module that Python 3.13 has removed, where there is one.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

LOG = logging.getLogger("retraining")
PROMOTED = Notification("project", "promoted", "Version 3 is the champion.", ("ok",))
SECRET = "hook-secret"


@pytest.fixture
def receiver(monkeypatch):
    """Gives the requests received; answers with the statuses of its list."""
    heard, statuses = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append((self.headers, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"json://127.0.0.1:{server.server_port}/{SECRET}?+Authorization=Bearer%20swordfish"
        monkeypatch.setenv(URLS, url)
        yield url, heard, statuses
        server.shutdown()
        thread.join()


def test_a_receiver_gets_title_text_and_details(receiver):
    _, heard, _ = receiver
    notify(PROMOTED, log=LOG)
    ((headers, tree),) = heard
    assert headers["Authorization"] == "Bearer swordfish"
    assert (tree["title"], tree["type"]) == ("project: retrain promoted", "success")
    assert tree["message"].splitlines() == ["Version 3 is the champion.", "ok"]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_refusal_is_logged_without_the_url(receiver, caplog, status):
    caplog.set_level(logging.DEBUG)
    _, heard, statuses = receiver
    statuses.append(status)
    notify(PROMOTED, log=LOG)
    assert len(heard) == 1
    assert f"At least one receiver of {URLS} did not accept the notification." in caplog.messages
    assert not any(secret in caplog.text for secret in (SECRET, "swordfish"))


def test_a_receiver_that_is_down_stops_neither_the_run_nor_the_others(receiver, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    url, heard, _ = receiver
    monkeypatch.setenv(URLS, f"json://127.0.0.1:9/{SECRET} {url}")
    notify(PROMOTED, log=LOG)
    assert len(heard) == 1
    assert "retrain promoted: Version 3 is the champion." in caplog.messages
    assert SECRET not in caplog.text


def test_an_error_of_the_library_is_logged_by_its_type_alone(receiver, caplog, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(f"cannot reach {SECRET}")

    monkeypatch.setattr("apprise.Apprise.notify", fail)
    notify(PROMOTED, log=LOG)
    assert caplog.messages == [f"Cannot send the notification to {URLS}: OSError"]


def test_without_urls_the_log_is_all(monkeypatch, caplog):
    monkeypatch.delenv(URLS, raising=False)
    check_notifications()
    notify(Notification("project", "failed", "Nothing is promoted."), log=LOG)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "retrain failed: Nothing is promoted.")
    ]


@pytest.mark.parametrize("url", ["file:///etc/hook-secret", "https://example.org/hook-secret", "hook-secret"])
def test_what_is_no_apprise_url_is_refused_without_showing_it(monkeypatch, url):
    monkeypatch.setenv(URLS, f"json://localhost {url}")
    with pytest.raises(ParamsError, match=f"entry 2 of {URLS}") as raised:
        check_notifications()
    assert SECRET not in str(raised.value)
