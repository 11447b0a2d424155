import hashlib
import io
import json
import logging
import signal
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from hsipipe.datasets.download import LOCK, SOURCE, Archive, cache_folder, fetch, is_cached
from hsipipe.errors import FileFormatError, IntegrityError, MissingInputError, ParamsError


@pytest.fixture
def content():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("toys_ms/toys_ms_01.png", b"png" * 1000)
    return buffer.getvalue()


@pytest.fixture
def place(tmp_path):
    """The folder of a data set in the cache."""
    return tmp_path / "cache" / "toys"


def _publish(server, content, path):
    server.content[path] = content
    return Archive(f"{server.url}{path}", hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def archive(server, content):
    return _publish(server, content, "/data/toys.zip")


@pytest.fixture
def plain(server):
    return _publish(server, bytes(range(256)) * 400, "/data/toys.mat")


def _trusting(archive):
    return Archive(archive.url, None, archive.size_bytes)


def _lock(place):
    return place.parent / LOCK


def _files(place):
    return sorted(path.name for path in place.rglob("*") if path.is_file() and path.name != ".lock")


def test_an_archive_is_downloaded_and_unpacked_once(place, server, archive):
    assert not is_cached(archive, place)
    folder = fetch(archive, place)
    assert (folder / "toys_ms" / "toys_ms_01.png").read_bytes() == b"png" * 1000
    assert is_cached(archive, place)
    assert fetch(archive, place) == folder
    assert server.requests == ["/data/toys.zip"]
    assert not _lock(place).exists()


def test_a_plain_file_is_downloaded_once(place, server, plain):
    assert not is_cached(plain, place)
    file = fetch(plain, place)
    assert file == place / "toys.mat"
    assert file.read_bytes() == server.content["/data/toys.mat"]
    assert is_cached(plain, place)
    assert fetch(plain, place) == file
    assert server.requests == ["/data/toys.mat"]
    assert _files(place) == ["toys.mat"]


def test_a_plain_file_that_was_damaged_in_the_cache_is_downloaded_again(place, server, plain, caplog):
    file = fetch(plain, place)
    file.write_bytes(b"damaged")
    assert fetch(plain, place).read_bytes() == server.content["/data/toys.mat"]
    assert "toys.mat is damaged" in caplog.text


@pytest.mark.parametrize("kind", ["archive", "plain"])
def test_a_wrong_sha256_keeps_nothing(place, server, archive, plain, kind):
    wanted = {"archive": archive, "plain": plain}[kind]
    path = wanted.url.removeprefix(server.url)
    server.content[path] = server.content[path][:-1] + b"\0x"
    with pytest.raises(IntegrityError, match=f"expected {wanted.sha256} .published"):
        fetch(wanted, place)
    assert _files(place.parent) == []


@pytest.mark.parametrize("kind", ["archive", "plain"])
def test_trust_on_first_use_records_the_digest_and_enforces_it(place, server, archive, plain, kind):
    wanted = {"archive": archive, "plain": plain}[kind]
    path, right = wanted.url.removeprefix(server.url), wanted.sha256
    fetch(_trusting(wanted), place)
    assert json.loads(_lock(place).read_text()) == {"sha256": {wanted.url: right}}
    for file in place.rglob("*"):
        if file.is_file():
            file.unlink()
    original = server.content[path]
    server.content[path] = original + b"x"
    with pytest.raises(IntegrityError, match=r"recorded in .*datasets\.lock\.json at first use"):
        fetch(_trusting(wanted), place)
    server.content[path] = original
    fetch(_trusting(wanted), place)
    assert is_cached(wanted, place)


def test_two_data_sets_share_the_lock(tmp_path, archive, plain):
    fetch(_trusting(archive), tmp_path / "a")
    fetch(_trusting(plain), tmp_path / "b")
    assert json.loads((tmp_path / LOCK).read_text())["sha256"] == {
        archive.url: archive.sha256,
        plain.url: plain.sha256,
    }


@pytest.mark.parametrize("trusting", [False, True])
def test_a_file_that_was_put_there_by_hand_is_used(place, server, archive, content, trusting):
    place.mkdir(parents=True)
    (place / "toys.zip").write_bytes(content)
    fetch(_trusting(archive) if trusting else archive, place)
    assert server.requests == []
    assert _lock(place).exists() == trusting


@pytest.mark.parametrize("page", [b"<html>moved</html>", b"\n<!DOCTYPE html>", b""])
@pytest.mark.parametrize("kind", ["archive", "plain"])
def test_a_first_download_that_is_a_web_page_is_not_trusted(place, server, archive, plain, page, kind):
    wanted = {"archive": archive, "plain": plain}[kind]
    server.content[wanted.url.removeprefix(server.url)] = page
    with pytest.raises(FileFormatError, match=rf"^{wanted.url} (is no zip file|returned (a web page|an empty file))"):
        fetch(_trusting(wanted), place)
    assert _files(place.parent) == []


def test_an_unpacked_archive_of_another_sha256_is_not_used(place, archive):
    fetch(archive, place)
    other = Archive(archive.url, "0" * 64, archive.size_bytes)
    assert not is_cached(other, place)
    with pytest.raises(IntegrityError, match=f"has sha256 {archive.sha256}, expected {other.sha256}"):
        fetch(other, place)
    assert is_cached(archive, place)


def test_an_unpacked_archive_without_a_record_is_unpacked_again(place, server, archive):
    folder = fetch(archive, place)
    (folder / SOURCE).unlink()
    assert not is_cached(archive, place)
    fetch(archive, place)
    assert (folder / SOURCE).read_text() == archive.sha256 + "\n"
    assert server.requests == ["/data/toys.zip"]


@pytest.mark.parametrize("trusting", [False, True])
def test_a_change_in_the_unpacked_archive_is_found(place, archive, trusting):
    archive = _trusting(archive) if trusting else archive
    file = fetch(archive, place) / "toys_ms" / "toys_ms_01.png"
    file.write_bytes(b"PNG" * 1000)
    with pytest.raises(IntegrityError, match=r"toys_ms_01\.png has sha256 .*Remove .*toys "):
        fetch(archive, place)
    file.unlink()
    with pytest.raises(IntegrityError, match=r"toys_ms_01\.png is missing"):
        fetch(archive, place)


@pytest.mark.parametrize("where", ["file", "file/below", "file/far/below"])
def test_a_cache_that_cannot_be_made(tmp_path, archive, where):
    (tmp_path / "file").write_text("")
    assert not is_cached(archive, tmp_path / where)
    with pytest.raises(MissingInputError, match=r"The cache folder .*file.* cannot be made .*HSIPIPE_CACHE"):
        fetch(archive, tmp_path / where)


def test_a_full_disk_is_one_line(place, plain):
    # A limit on the size of files stands for the disk.
    code = (
        "import resource, sys; from pathlib import Path; from hsipipe.datasets.download import Archive, fetch\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        f"fetch(Archive({plain.url!r}, {plain.sha256!r}, 1), Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=False)
    assert "MissingInputError: The cache folder" in done.stderr.splitlines()[-1]
    assert "File too large" in done.stderr.splitlines()[-1]


def test_not_found(place, server, archive, patience, waits):
    server.content.clear()
    with pytest.raises(MissingInputError, match=r"Cannot download toys\.zip: http\S+: the server returned 404"):
        fetch(archive, place, patience=patience)
    assert server.requests == ["/data/toys.zip"]
    assert waits == []


def test_no_server(place, patience, waits):
    with pytest.raises(MissingInputError, match=r"none\.zip: no connection \(.*refused\), 3 times in a row"):
        fetch(Archive("http://127.0.0.1:9/none.zip", None, 1), place, patience=patience)
    assert waits == [1, 2]
    assert _files(place) == []


def test_secrets_in_an_address_are_not_shown(place, server, patience):
    url = server.url.replace("http://", "http://user:secret@") + "/a.zip?token=hidden"
    with pytest.raises(MissingInputError, match="404") as caught:
        fetch(Archive(url, None, 1), place, patience=patience)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert f"{server.url}/a.zip" in str(caught.value)


def test_a_damaged_lock_is_no_licence_to_trust(place, archive):
    place.mkdir(parents=True)
    _lock(place).write_text("{")
    with pytest.raises(IntegrityError, match="is damaged"):
        fetch(_trusting(archive), place)


def test_the_cache_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("HSIPIPE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("HSIPIPE_CACHE")
    assert cache_folder().name == "hsipipe"


def test_the_addresses_of_the_file_are_asked_in_their_order(place, server, plain, patience):
    elsewhere = Archive(f"{server.url}/gone/toys.mat", plain.sha256, 1, mirrors=(plain.url,))
    assert fetch(elsewhere, place, patience=patience).is_file()
    assert server.requests == ["/gone/toys.mat", "/data/toys.mat"]


@pytest.mark.parametrize("suffix", ["", "/"])
def test_a_mirror_is_asked_first(place, server, plain, monkeypatch, suffix):
    monkeypatch.setenv("HSIPIPE_MIRROR", f"{server.url}/mirror{suffix}")
    fetch(plain, place)
    assert server.requests == ["/mirror/toys.mat"]


def test_a_mirror_without_the_file_or_with_a_wrong_one_does_not_matter(place, server, plain, monkeypatch, patience):
    monkeypatch.setenv("HSIPIPE_MIRROR", f"{server.url}/other")
    fetch(plain, place, patience=patience)
    (place / "toys.mat").unlink()
    server.content["/other/toys.mat"] = b"another"
    fetch(plain, place, patience=patience)
    assert server.requests == ["/other/toys.mat", "/data/toys.mat"] * 2


def test_the_lock_holds_for_a_mirror_too(place, server, plain, monkeypatch):
    fetch(_trusting(plain), place)
    (place / "toys.mat").unlink()
    server.content = {"/other/toys.mat": b"another"}
    monkeypatch.setenv("HSIPIPE_MIRROR", f"{server.url}/other")
    with pytest.raises(IntegrityError, match=r"/other/toys\.mat has sha256 .*at first use"):
        fetch(_trusting(plain), place)


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_folder_can_be_the_mirror(place, tmp_path, server, plain, monkeypatch, offline):
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / "toys.mat").write_bytes(server.content["/data/toys.mat"])
    monkeypatch.setenv("HSIPIPE_MIRROR", str(tmp_path / "usb"))
    monkeypatch.setenv("HSIPIPE_OFFLINE", offline)
    assert fetch(plain, place).is_file()
    assert server.requests == []


@pytest.mark.parametrize("mirror", ["ftp://host/x", "file:///tmp"])
def test_a_mirror_of_another_scheme_is_refused(place, plain, monkeypatch, mirror):
    monkeypatch.setenv("HSIPIPE_MIRROR", mirror)
    with pytest.raises(ParamsError, match=r"HSIPIPE_MIRROR is .*expected http"):
        fetch(plain, place)


def test_offline_uses_what_is_there_and_names_what_is_not(place, server, archive, plain, monkeypatch):
    fetch(archive, place)
    server.requests.clear()
    monkeypatch.setenv("HSIPIPE_OFFLINE", "1")
    monkeypatch.setenv("HSIPIPE_MIRROR", f"{server.url}/mirror")
    assert fetch(archive, place).is_dir()
    with pytest.raises(MissingInputError, match=r"toys\.mat is not in the cache .* and HSIPIPE_OFFLINE is set"):
        fetch(plain, place)
    assert server.requests == []


def test_a_second_download_waits_for_the_first_and_finds_its_file(place, server, plain, patience, caplog):
    caplog.set_level(logging.INFO)
    server.stalls = True
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(plain, place, patience=patience))) for _ in "ab"]
    threads[0].start()
    server.stalled.wait()
    threads[1].start()
    while "another process downloads" not in caplog.text:
        time.sleep(0.005)
    server.stalls = False
    server.released.set()
    for thread in threads:
        thread.join()
    assert results == [place / "toys.mat"] * 2
    assert len(server.requests) == 2  # both of the first one, whose connection was held up and then broke


def test_a_download_that_is_killed_leaves_a_part_that_is_continued(place, server, plain):
    server.stalls = True
    code = (
        "import sys; from pathlib import Path; from hsipipe.datasets.download import Archive, fetch\n"
        f"fetch(Archive({plain.url!r}, {plain.sha256!r}, 1), Path(sys.argv[1]))"
    )
    part = place / ".toys.mat.part"
    with subprocess.Popen([sys.executable, "-c", code, str(place)]) as process:
        while not (part.is_file() and part.stat().st_size) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert _files(place) == [".toys.mat.part", ".toys.mat.part.json"]
    arrived = part.stat().st_size
    server.stalls = False
    assert fetch(plain, place).is_file()
    assert server.ranges == [None, f"bytes={arrived}-"]
    assert _files(place) == ["toys.mat"]


def test_the_file_name_is_that_of_the_address():
    assert Archive("https://host/a/b.zip?x=/c.mat", None, 1).file_name == "b.zip"
