import hashlib
import io
import json
import zipfile

import pytest

from hsipipe.datasets.download import LOCK, SOURCE, Archive, cache_folder, fetch, is_cached
from hsipipe.errors import FileFormatError, IntegrityError, MissingInputError


@pytest.fixture
def content():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("toys_ms/toys_ms_01.png", b"png" * 1000)
    return buffer.getvalue()


@pytest.fixture
def archive(server, content):
    server.content["/data/toys.zip"] = content
    return Archive(f"{server.url}/data/toys.zip", hashlib.sha256(content).hexdigest(), len(content))


def _trusting(archive):
    return Archive(archive.url, None, archive.size_bytes)


def test_downloads_once(tmp_path, server, archive):
    assert not is_cached(archive, tmp_path)
    folder = fetch(archive, tmp_path)
    assert (folder / "toys_ms" / "toys_ms_01.png").read_bytes() == b"png" * 1000
    assert is_cached(archive, tmp_path)
    assert fetch(archive, tmp_path) == folder
    assert server.requests == ["/data/toys.zip"]
    assert not (tmp_path / LOCK).exists()


def test_a_wrong_sha256_keeps_nothing(tmp_path, server, archive):
    server.content["/data/toys.zip"] += b"x"
    with pytest.raises(IntegrityError, match=f"expected {archive.sha256} .published for it"):
        fetch(archive, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_trust_on_first_use_records_the_digest_and_enforces_it(tmp_path, server, archive):
    fetch(_trusting(archive), tmp_path)
    assert json.loads((tmp_path / LOCK).read_text()) == {"sha256": {archive.url: archive.sha256}}
    for path in (tmp_path / "toys").rglob("*"):
        if path.is_file():
            path.unlink()
    (tmp_path / "toys.zip").unlink()
    server.content["/data/toys.zip"] += b"x"
    with pytest.raises(IntegrityError, match=r"recorded in .*datasets\.lock\.json at first use"):
        fetch(_trusting(archive), tmp_path)
    server.content["/data/toys.zip"] = server.content["/data/toys.zip"][:-1]
    assert is_cached(archive, fetch(_trusting(archive), tmp_path).parent)


def test_the_downloaded_file_is_used_again_when_it_is_right(tmp_path, server, archive, content):
    (tmp_path / "toys.zip").write_bytes(content)
    fetch(archive, tmp_path)
    assert server.requests == []


def test_a_first_download_that_is_no_zip_is_not_trusted(tmp_path, server, archive):
    server.content["/data/toys.zip"] = b"<html>moved</html>"
    with pytest.raises(FileFormatError, match=rf"^{archive.url} is no zip file"):
        fetch(_trusting(archive), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unpacked_archive_of_another_sha256_is_not_used(tmp_path, server, archive):
    fetch(archive, tmp_path)
    other = Archive(archive.url, "0" * 64, archive.size_bytes)
    assert not is_cached(other, tmp_path)
    with pytest.raises(IntegrityError, match=f"has sha256 {archive.sha256}, expected {other.sha256}"):
        fetch(other, tmp_path)
    assert is_cached(archive, tmp_path)


def test_an_unpacked_archive_without_a_record_is_unpacked_again(tmp_path, server, archive):
    folder = fetch(archive, tmp_path)
    (folder / SOURCE).unlink()
    assert not is_cached(archive, tmp_path)
    fetch(archive, tmp_path)
    assert (folder / SOURCE).read_text() == archive.sha256 + "\n"
    assert server.requests == ["/data/toys.zip"]


@pytest.mark.parametrize("trusting", [False, True])
def test_a_change_in_the_unpacked_archive_is_found(tmp_path, archive, trusting):
    archive = _trusting(archive) if trusting else archive
    file = fetch(archive, tmp_path) / "toys_ms" / "toys_ms_01.png"
    file.write_bytes(b"PNG" * 1000)
    with pytest.raises(IntegrityError, match=r"toys_ms_01\.png has sha256 .*Remove .*toys "):
        fetch(archive, tmp_path)
    file.unlink()
    with pytest.raises(IntegrityError, match=r"toys_ms_01\.png is missing"):
        fetch(archive, tmp_path)


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below"])
def test_a_cache_that_cannot_be_made(tmp_path, archive, place):
    (tmp_path / "file").write_text("")
    assert not is_cached(archive, tmp_path / place)
    with pytest.raises(MissingInputError, match=r"The cache folder .*file.* cannot be made .*; set HSIPIPE_CACHE"):
        fetch(archive, tmp_path / place)


def test_a_connection_that_breaks_keeps_nothing(tmp_path, server, archive):
    server.cut = 500
    with pytest.raises(MissingInputError, match=r"Cannot download http.*dataset\.root"):
        fetch(archive, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_not_found(tmp_path, server, archive):
    server.content.clear()
    with pytest.raises(MissingInputError, match="404"):
        fetch(archive, tmp_path)


def test_no_server(tmp_path):
    with pytest.raises(MissingInputError, match="Cannot download"):
        fetch(Archive("http://127.0.0.1:9/none.zip", None, 1), tmp_path)


def test_a_damaged_lock_is_no_licence_to_trust(tmp_path, archive):
    (tmp_path / LOCK).write_text("{")
    with pytest.raises(IntegrityError, match="is damaged"):
        fetch(_trusting(archive), tmp_path)


def test_the_cache_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("HSIPIPE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("HSIPIPE_CACHE")
    assert cache_folder().name == "hsipipe"
