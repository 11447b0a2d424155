"""One file from a server that breaks off, stalls, changes its mind or knows no ranges."""

import json
import shutil
import ssl
import subprocess
import threading
from http.server import ThreadingHTTPServer

import pytest

from hsipipe.datasets.transfer import Patience, TransferError, leaves_tls, pull

BODY = bytes(range(256)) * 1024
BLOCK = 1 << 14  # what breaks off inside a block is lost


@pytest.fixture
def part(tmp_path):
    return tmp_path / ".toys.mat.part"


@pytest.fixture
def url(server):
    server.content["/toys.mat"] = BODY
    return f"{server.url}/toys.mat"


@pytest.fixture
def bring(url, part, patience):
    """Download; gives whether the file was put together of several answers, and what the bar was told."""

    def bring(*, patience=patience, digest_known=True, url=url):
        told = []

        def advance(n=1, note="", *, done=None, total=None):
            told.append((n if done is None else 0, done, total))

        return pull(url, part, digest_known=digest_known, patience=patience, advance=advance), told

    return bring


def test_the_bar_is_told_every_byte_and_the_total(bring, part):
    continued, told = bring()
    assert part.read_bytes() == BODY
    assert not continued
    assert told[0] == (0, 0, len(BODY))
    assert sum(n for n, _, _ in told) == len(BODY)


def test_a_connection_that_breaks_is_continued(bring, part, server, waits):
    server.cuts = [8 * BLOCK, 2 * BLOCK, 0]
    continued, told = bring()
    assert part.read_bytes() == BODY
    assert continued
    assert server.ranges == [None, f"bytes={len(BODY) - 8 * BLOCK}-", f"bytes={len(BODY) - 2 * BLOCK}-"]
    assert server.conditions == [None, '"1"', '"1"']
    assert waits == [1, 1]  # each attempt brought something new
    assert [done for _, done, _ in told if done is not None] == [0, len(BODY) - 8 * BLOCK, len(BODY) - 2 * BLOCK]


def test_a_connection_that_always_breaks_at_the_same_place_is_given_up(bring, part, server, waits):
    server.takes_ranges = False
    server.cut = BLOCK
    with pytest.raises(TransferError, match="the connection broke, 3 times in a row"):
        bring()
    assert len(server.requests) == 3
    assert waits == [1, 2]
    assert part.stat().st_size == len(BODY) - BLOCK


def test_a_server_without_ranges_starts_over(bring, part, server):
    server.takes_ranges = False
    server.cuts = [8 * BLOCK, 0]
    continued, _ = bring()
    assert part.read_bytes() == BODY
    assert not continued


def test_a_server_that_stalls_is_given_up_and_continued_later(bring, part, server, waits):
    server.stalls = True
    with pytest.raises(TransferError, match=r"no data for 0\.2 s, 2 times in a row"):
        bring(patience=Patience(timeout_s=0.2, attempts=2, wait=waits.append))
    arrived = part.stat().st_size
    assert 0 < arrived < len(BODY)
    server.stalls = False
    assert bring()[0]
    assert server.ranges[-1] == f"bytes={arrived}-"
    assert part.read_bytes() == BODY


def test_a_passing_error_of_the_server_is_no_reason_to_give_up(bring, part, server, waits):
    server.errors = [500, 503]
    bring()
    assert part.read_bytes() == BODY
    assert waits == [1, 2]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_other_errors_are(bring, server, waits, status):
    server.errors = [status]
    with pytest.raises(TransferError, match=f"the server returned {status}"):
        bring()
    assert waits == []


def test_an_error_of_the_server_leaves_what_has_arrived(bring, part, server):
    server.cuts = [BLOCK]
    server.errors = []
    with pytest.raises(TransferError):
        bring(patience=Patience(attempts=1, wait=print))
    server.errors = [404]
    with pytest.raises(TransferError):
        bring()
    assert part.stat().st_size == len(BODY) - BLOCK


@pytest.mark.parametrize("etag", ['"2"', 'W/"2"', None])
@pytest.mark.parametrize("length", [len(BODY), len(BODY) + 10])
def test_a_file_that_changed_meanwhile_is_downloaded_from_the_start(bring, part, server, etag, length):
    server.cuts = [BLOCK]
    with pytest.raises(TransferError):
        bring(patience=Patience(attempts=1, wait=print))
    server.content["/toys.mat"] = b"n" * length
    server.etag = etag
    continued, _ = bring()
    assert part.read_bytes() == b"n" * length
    assert not continued


def test_without_a_sign_of_the_version_only_a_known_digest_allows_to_continue(bring, part, server):
    server.etag = None
    for known, expected in ((False, None), (True, f"bytes={len(BODY) - BLOCK}-")):
        server.cuts = [BLOCK]
        with pytest.raises(TransferError):
            bring(patience=Patience(attempts=1, wait=print), digest_known=known)
        assert bring(digest_known=known)[0] == known
        assert server.ranges[-1] == expected
        assert part.read_bytes() == BODY
        part.unlink()


def test_a_weak_entity_tag_is_compared_and_not_sent(bring, part, server):
    server.etag = 'W/"1"'
    server.cuts = [BLOCK, 0]
    bring()
    assert server.conditions == [None, None]
    assert server.ranges == [None, f"bytes={len(BODY) - BLOCK}-"]
    assert part.read_bytes() == BODY


def test_a_part_that_is_whole_needs_no_server(bring, part, server):
    bring()
    server.requests.clear()
    assert bring()[0]
    assert server.requests == []


def test_a_part_of_another_address_or_without_its_record_is_not_continued(bring, part, server):
    bring()
    server.content["/b/toys.mat"] = BODY
    assert not bring(url=f"{server.url}/b/toys.mat")[0]
    part.with_name(part.name + ".json").write_text("{")
    assert not bring()[0]
    assert part.read_bytes() == BODY
    assert json.loads(part.with_name(part.name + ".json").read_text())["size"] == len(BODY)


def test_an_answer_that_is_compressed_on_the_way_is_the_file_all_the_same(bring, part, server):
    server.compresses = True
    assert not bring()[0]
    assert part.read_bytes() == BODY
    assert not bring()[0]  # nothing tells whether it is whole


def test_what_is_kept_holds_no_secret(bring, part, server):
    bring(url=f"{server.url.replace('//', '//user:secret@')}/toys.mat")
    assert "secret" not in part.with_name(part.name + ".json").read_text()


def test_a_redirect_is_followed(bring, part, server):
    server.moved["/old.mat"] = f"{server.url}/toys.mat"
    bring(url=f"{server.url}/old.mat")
    assert part.read_bytes() == BODY


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_another_scheme_is_refused(bring, part, server, waits, target):
    server.moved["/old.mat"] = target
    with pytest.raises(TransferError, match="neither http nor https"):
        bring(url=f"{server.url}/old.mat")
    assert waits == []
    assert not part.exists()


@pytest.mark.parametrize(
    ("url", "target", "leaves"),
    [
        ("https://a.example/x", "http://a.example/x", True),
        ("https://a.example/x", "HTTP://a.example/x", True),
        ("https://a.example/x", "ftp://a.example/x", True),
        ("https://a.example/x", "/y", False),
        ("https://a.example/x", "//b.example/y", False),
        ("http://a.example/x", "https://a.example/x", False),
        ("http://a.example/x", "http://b.example/x", False),
    ],
)
def test_a_redirect_that_gives_up_tls_is_known(url, target, leaves):
    assert leaves_tls(url, target) is leaves


@pytest.fixture
def tls(server, tmp_path, monkeypatch):
    """The address of the same server behind TLS."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with ThreadingHTTPServer(("127.0.0.1", 0), server.handler) as http:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        http.socket = context.wrap_socket(http.socket, server_side=True)
        http.daemon_threads = True
        http.state = server
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"https://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made with openssl")
def test_a_redirect_from_https_to_http_is_refused(bring, part, server, waits, tls):
    server.moved["/old.mat"] = f"{server.url}/toys.mat"
    with pytest.raises(TransferError, match="redirects from https to an unencrypted"):
        bring(url=f"{tls}/old.mat")
    assert waits == []
    assert not part.exists()
    server.moved["/old.mat"] = f"{tls}/toys.mat"
    bring(url=f"{tls}/old.mat")
    assert part.read_bytes() == BODY


def test_a_redirect_in_circles_is_refused(bring, server, waits):
    server.moved["/old.mat"] = f"{server.url}/old.mat"
    with pytest.raises(TransferError, match="too many redirects"):
        bring(url=f"{server.url}/old.mat")
    assert waits == []


def test_the_waits_grow_up_to_half_a_minute(bring, server, waits):
    server.errors = [500] * 10
    with pytest.raises(TransferError, match="500 Internal Server Error, 8 times"):
        bring(patience=Patience(attempts=8, wait=waits.append))
    assert waits == [1, 2, 4, 8, 16, 30, 30]
