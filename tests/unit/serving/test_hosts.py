"""Refuse web pages: by the name in their Host (DNS rebinding) and by their Origin."""

import json
import re

import numpy as np
import pytest

from hsipipe.errors import ParamsError
from hsipipe.methods.bicubic import Bicubic
from hsipipe.serving.hosts import Hosts
from hsipipe.serving.limits import Limits

from .conftest import Source, connected, npy, running, until_closed

pytestmark = pytest.mark.xdist_group("servers")

ROUTES = (
    ("GET", "/health"), ("GET", "/model"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/nowhere"),
    ("GET", "/"), ("GET", "/docs"),
    ("HEAD", "/model"), ("OPTIONS", "/predict"), ("POST", "/predict"), ("POST", "/model/refresh"),
)  # fmt: skip
LR = np.random.default_rng(0).random((2, 4, 4), dtype=np.float32)


def status_of(hosts, **headers):
    found = hosts.refusal(
        [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    )
    return 200 if found is None else found.status


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "localhost:", "127.0.0.1", "127.0.0.1:8000", "127.255.0.9:1", "[::1]", "[::1]:80"],
)
def test_a_loopback_name_is_accepted(host):
    assert status_of(Hosts(local=True), host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
        "128.0.0.1", "localhost@evil.example", "evil.example#localhost", "localhost/evil", "::1", "[::2]", "[::1",
        "localhost:80:80", "localhost:port", "0.0.0.0", "localhost evil", "\xff",
    ],
)  # fmt: skip
def test_another_name_is_refused_on_loopback(host):
    assert status_of(Hosts(local=True), host=host) == 421


def test_a_request_without_host_is_refused_on_loopback():
    assert status_of(Hosts(local=True)) == 421
    assert status_of(Hosts(local=False)) == 421


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1:80", "10.0.0.1", "192.168.1.5:8000", "[2001:db8::1]:80", "box.lan", "BOX.LAN:80", "box"],
)
def test_a_server_of_other_machines_takes_addresses_and_the_name_of_its_machine(host, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Box.lan")
    assert status_of(Hosts(local=False), host=host) == 200


@pytest.mark.parametrize("host", ["evil.example", "box.lan.evil.example", "lan", "10.0.0.1.evil.example", "", "1.2.3"])
def test_a_server_of_other_machines_refuses_foreign_names(host, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "box.lan")
    refusal = Hosts(local=False).refusal([(b"host", host.encode())])
    assert refusal.status == 421
    assert "expected localhost, 127.0.0.1, [::1], box.lan, box, an IP address; use such an address" in str(refusal)


def test_names_are_allowed_in_addition_to_loopback():
    for hosts in (Hosts(local=True, allowed=["Models.example"]), Hosts(local=False, allowed=["models.example"])):
        assert status_of(hosts, host="models.example:443") == 200
        assert status_of(hosts, host="localhost") == 200
        assert status_of(hosts, host="evil.example") == 421
        assert status_of(hosts) == 421
        assert status_of(hosts, host="10.0.0.1") == 421


@pytest.mark.parametrize("name", ["http://models.example", "models.example:80", "models.example/x", "", "a b", "::1"])
def test_an_allowed_name_is_a_name_only(name):
    with pytest.raises(ParamsError, match=re.escape(repr(name))):
        Hosts(local=True, allowed=[name])


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://localhost:8000", "localhost:8000", 200),
        ("https://localhost", "localhost:443", 200),
        ("http://LOCALHOST", "localhost", 200),
        ("http://[::1]:8000", "[::1]:8000", 200),
        ("http://localhost:3000", "localhost:8000", 403),  # another server of this machine
        ("http://127.0.0.1:8000", "localhost:8000", 403),
        ("https://localhost", "localhost", 200),
        ("http://evil.example", "localhost", 403),
        ("null", "localhost", 403),
        ("", "localhost", 403),
        ("file://", "localhost", 403),
        ("chrome-extension://localhost", "localhost", 403),
        ("http://localhost@evil.example", "localhost", 403),
        ("http://localhost http://evil.example", "localhost", 403),
    ],
)
def test_only_the_own_origin_is_accepted(origin, host, status):
    assert status_of(Hosts(local=True), host=host, origin=origin) == status


def test_each_origin_counts():
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"origin", b"http://evil.example")]
    assert Hosts(local=True).refusal(headers).status == 403


def test_an_origin_without_a_host_is_refused():
    assert status_of(Hosts(local=False), origin="http://evil.example") == 421


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_a_request_of_a_page_without_origin_is_refused(site, status):
    assert status_of(Hosts(local=True), host="localhost", sec_fetch_site=site) == status


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Host", "evil.example", 421), ("Origin", "http://evil.example", 403), ("Sec-Fetch-Site", "cross-site", 403),
    ],
)  # fmt: skip
def test_every_route_refuses_web_pages_in_one_line(bicubic, method, path, header, value, status):
    body = npy(LR) if method == "POST" else None
    got, headers, answer = bicubic.ask(method, path, body, {header: value})
    assert got == status
    assert headers["Content-Type"] == "application/json"
    assert "Access-Control-Allow-Origin" not in headers
    if method != "HEAD":
        error = json.loads(answer)["error"]
        assert "\n" not in error
        assert value in error
        assert "expected" in error


def test_a_refused_refresh_starts_nothing(serve):
    client = serve(Bicubic(2), token="secret")
    headers = {"Authorization": "Bearer secret", "Origin": "http://evil.example"}
    assert client.ask("POST", "/model/refresh", headers=headers)[0] == 403
    assert not client.get("/model")[1]["is_switching"]


@pytest.mark.parametrize("head", [b"GET /health HTTP/1.0\r\n\r\n", b"GET /health HTTP/1.1\r\nHost:\r\n\r\n"])
def test_a_request_that_names_no_host_is_refused(bicubic, head):
    with connected(bicubic) as connection:
        connection.sendall(head)
        connection.settimeout(10)
        assert connection.recv(65536).startswith(b"HTTP/1.1 421 ")


def test_two_hosts_are_invalid(bicubic):
    with connected(bicubic) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert until_closed(connection).startswith(b"HTTP/1.1 400 ")


def test_a_server_of_other_machines_takes_the_names_that_it_was_given():
    options = {"limits": Limits(grace_s=5.0), "host": "0.0.0.0"}
    with running(Source({"1": Bicubic(2)}), **options) as client:
        assert client.ask("GET", "/model", headers={"Host": "any.example"})[0] == 421
        assert client.ask("GET", "/model", headers={"Host": "10.0.0.1"})[0] == 200
        assert client.ask("GET", "/model", headers={"Origin": "http://evil.example"})[0] == 403
    with running(Source({"1": Bicubic(2)}), allowed_hosts=["models.example"], **options) as client:
        assert client.ask("GET", "/model", headers={"Host": "any.example"})[0] == 421
        own = {"Host": "models.example", "Origin": "https://models.example"}
        assert client.ask("GET", "/model", headers=own)[0] == 200
