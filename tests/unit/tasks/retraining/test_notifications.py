"""News arrive, or their absence harms nothing and gives no secret away."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hsipipe.errors import ParamsError
from tasks.retraining.notifications import LogNotifier, News, WebhookNotifier, notifiers, notify

LOG = logging.getLogger("news")
NEWS = News("retrain", "promoted", "Version 3 is the champion.", "project", ("ok",))


@pytest.fixture
def receiver():
    """Answers with the status that its list names next."""
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
        yield f"http://127.0.0.1:{server.server_port}/hook-secret", heard, statuses
        server.shutdown()
        thread.join()


def test_a_webhook_gets_what_a_chat_shows_and_the_rest(receiver):
    url, heard, _ = receiver
    notify(NEWS, [WebhookNotifier(url, token="swordfish")])
    headers, tree = heard[0]
    assert headers["Authorization"] == "Bearer swordfish"
    assert tree["text"] == "project: retrain promoted. Version 3 is the champion."
    assert (tree["outcome"], tree["details"]) == ("promoted", ["ok"])


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_did_not_arrive_is_said_without_the_address(receiver, caplog, status):
    url, heard, statuses = receiver
    statuses.append(status)
    notify(NEWS, [WebhookNotifier(url, token="swordfish"), LogNotifier(LOG)])
    assert len(heard) == 1  # no redirection is followed, nothing is sent twice
    assert "WebhookNotifier did not get the news" in caplog.text
    assert not any(secret in caplog.text for secret in ("hook-secret", "swordfish"))


def test_a_webhook_that_is_down_keeps_no_other_from_hearing(caplog):
    caplog.set_level(logging.INFO)
    notify(NEWS, [WebhookNotifier("http://127.0.0.1:9/hook-secret"), LogNotifier(LOG)])
    assert "retrain promoted: Version 3 is the champion." in caplog.text
    assert "hook-secret" not in caplog.text


def test_the_environment_names_the_webhook(monkeypatch):
    monkeypatch.delenv("HSIPIPE_WEBHOOK_URL", raising=False)
    assert [type(one) for one in notifiers()] == [LogNotifier]
    monkeypatch.setenv("HSIPIPE_WEBHOOK_URL", "https://example.org/x")
    assert [type(one) for one in notifiers()] == [LogNotifier, WebhookNotifier]
    monkeypatch.setenv("HSIPIPE_WEBHOOK_URL", "file:///etc/hook-secret")
    with pytest.raises(ParamsError, match="must begin with https") as raised:
        notifiers()
    assert "hook-secret" not in str(raised.value)
