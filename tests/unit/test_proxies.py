import urllib.request

import httpx
import pytest
import requests

from hsipipe.proxies import spare_local_servers

PROXY = "http://127.0.0.1:9"
LOCAL = "localhost,127.0.0.1,::1"


def spared(**environment):
    spare_local_servers(environment)
    return environment


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_local_servers_are_added_to_what_the_user_excludes(name):
    assert spared(**{name: PROXY})["no_proxy"] == LOCAL
    both = spared(**{name: PROXY, "NO_PROXY": "example.org, 127.0.0.1"})
    assert both["no_proxy"] == both["NO_PROXY"] == "example.org,127.0.0.1,localhost,::1"
    assert spared(**{name: PROXY, "NO_PROXY": "a", "no_proxy": "b"})["NO_PROXY"] == f"b,{LOCAL}"
    assert spared(**{name: PROXY, "no_proxy": "*"})["no_proxy"] == "*"


def test_without_a_proxy_nothing_changes():
    assert spared(NO_PROXY="a", HTTP_PROXY="") == {"NO_PROXY": "a", "HTTP_PROXY": ""}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_libraries_go_there_directly_and_elsewhere_by_the_proxy(monkeypatch, host):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, PROXY)
    spare_local_servers()
    assert requests.utils.get_environ_proxies(f"http://{host}:4200/api") == {}
    assert requests.utils.get_environ_proxies("http://example.org")["http"] == PROXY
    assert urllib.request.proxy_bypass(host.strip("[]"))
    with httpx.Client() as client:
        direct, proxied = (client._transport_for_url(httpx.URL(u)) for u in (f"http://{host}:1", "http://example.org"))
        assert direct is client._transport
        assert proxied is not client._transport
