import io
import stat
import zipfile

import pytest

from hsipipe.datasets.archives import check_zip, unpack_zip
from hsipipe.errors import FileFormatError


def _zip(path, entries, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def test_files_and_folders(tmp_path, into):
    archive = _zip(tmp_path / "a.zip", [("d/", ""), ("d/a.txt", "a"), ("b.txt", "b")])
    assert [entry.filename for entry in check_zip(archive)] == ["d/a.txt", "b.txt"]
    unpack_zip(archive, into)
    assert (into / "d" / "a.txt").read_text() == "a"
    assert (into / "b.txt").read_text() == "b"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "d/../../x", "..", "C:/x", "d\\..\\x"])
def test_names_outside_the_folder_are_refused(tmp_path, into, name):
    archive = _zip(tmp_path / "a.zip", [("good.txt", "a"), (name, "evil")])
    with pytest.raises(FileFormatError, match="would lie outside"):
        unpack_zip(archive, into)
    assert list(into.iterdir()) == []


def test_links_are_refused(tmp_path, into):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = _zip(tmp_path / "a.zip", [(link, "/etc/passwd")])
    with pytest.raises(FileFormatError, match="is a link or a device"):
        unpack_zip(archive, into)


def test_size_and_count_are_capped(tmp_path, into):
    archive = _zip(tmp_path / "a.zip", [("a", b"0" * 1000), ("b", b"0" * 1000)], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(FileFormatError, match="unpacks to 2000 bytes, more than the 1500"):
        unpack_zip(archive, into, max_bytes=1500)
    with pytest.raises(FileFormatError, match="holds 2 files, more than the 1"):
        unpack_zip(archive, into, max_files=1)


def test_a_header_that_understates_the_size_is_found(tmp_path, into):
    buffer = io.BytesIO()
    _zip(buffer, [("a", b"0" * 1000)], compression=zipfile.ZIP_DEFLATED)
    lying = buffer.getvalue().replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "a.zip").write_bytes(lying)
    with pytest.raises(FileFormatError, match=r"damaged|more bytes than its header says"):
        unpack_zip(tmp_path / "a.zip", into)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_truncated(tmp_path, into, share):
    content = _zip(tmp_path / "a.zip", [("a", bytes(range(256)) * 20)]).read_bytes()
    (tmp_path / "a.zip").write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileFormatError, match=r"a\.zip is no zip file or is truncated"):
        unpack_zip(tmp_path / "a.zip", into)


def test_a_damaged_entry_is_named(tmp_path, into):
    archive = _zip(tmp_path / "a.zip", [("x.bin", bytes(range(256)) * 20)])
    content = bytearray(archive.read_bytes())
    content[500] ^= 1
    archive.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"x\.bin is damaged"):
        unpack_zip(archive, into)
