import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from hsipipe.datasets.archives import check_zip, folder_name, unpack, unpack_tar, unpack_zip
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


def _tar(path, entries, *, damage=None):
    """A tar.gz of (name or TarInfo, content); `damage` may change the bytes under the gzip."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in entries:
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = entry.size or len(content)
            archive.addfile(entry, io.BytesIO(content + bytes(entry.size - len(content))))
    path.write_bytes(gzip.compress(damage(raw.getvalue()) if damage else raw.getvalue()))
    return path


def _entry(name, kind, **changes):
    entry = tarfile.TarInfo(name)
    entry.type = kind
    for key, value in changes.items():
        setattr(entry, key, value)
    return entry


def test_tar_files_and_folders(tmp_path, into):
    entries = [(_entry("./", tarfile.DIRTYPE), b""), (_entry("d", tarfile.DIRTYPE), b""), ("./d/a.txt", b"a")]
    archive = _tar(
        tmp_path / "a.tgz", [*entries, ("b.txt", b"b" * 3_000_000), (_entry("x", tarfile.REGTYPE, mode=0o777), b"")]
    )
    unpack_tar(archive, into)
    assert (into / "d" / "a.txt").read_text() == "a"
    assert (into / "b.txt").stat().st_size == 3_000_000
    assert not (into / "x").stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize("name", ["/etc/x", "../x", "d/../../x", "..", "C:/x", "d\\..\\x"])
def test_names_outside_the_folder_are_refused_in_tar_too(tmp_path, into, name):
    with pytest.raises(FileFormatError, match=r"a\.tgz is refused: .*would lie outside"):
        unpack_tar(_tar(tmp_path / "a.tgz", [(name, b"evil")]), into)
    assert list(into.iterdir()) == []
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused_in_tar_too(tmp_path, into, kind):
    archive = _tar(tmp_path / "a.tgz", [(_entry("x", kind, linkname="/etc/passwd"), b"")])
    with pytest.raises(FileFormatError, match="'x' is a link or a device"):
        unpack_tar(archive, into)
    assert list(into.iterdir()) == []


def test_size_and_count_are_capped_in_tar_too(tmp_path, into):
    archive = _tar(tmp_path / "a.tgz", [("a", b"0" * 1000), ("b", b"0" * 1000)])
    with pytest.raises(FileFormatError, match="unpacks to more than the 1500 bytes"):
        unpack_tar(archive, into, max_bytes=1500)
    with pytest.raises(FileFormatError, match="holds more than the 1 files"):
        unpack_tar(archive, tmp_path, max_files=1)


def test_a_tar_bomb_of_nothing_but_a_tail_or_a_header_is_found(tmp_path, into):
    tail = _tar(tmp_path / "tail.tgz", [("a", b"a")], damage=lambda raw: raw + bytes(8_000_000))
    with pytest.raises(FileFormatError, match=r"unpacks to more than the \d+ bytes"):
        unpack_tar(tail, into, max_bytes=1000, max_files=1)
    header = _tar(tmp_path / "header.tgz", [(_entry("PaxHeader", tarfile.XHDTYPE, size=3_000_000), b"")])
    with pytest.raises(FileFormatError, match="a header of 3000320 bytes"):
        unpack_tar(header, tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_tar(tmp_path, into, share):
    archive = _tar(tmp_path / "a.tgz", [("a", bytes(range(256)) * 20)])
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    with pytest.raises(FileFormatError, match=r"^a\.tgz (is no tar\.gz file, is truncated or damaged|is truncated)"):
        unpack_tar(archive, into)


def test_a_tar_that_ends_inside_a_file(tmp_path, into):
    archive = _tar(tmp_path / "a.tgz", [("a", b"a" * 5000)], damage=lambda raw: raw[:2000])
    with pytest.raises(FileFormatError, match=r"^a\.tgz is (truncated in a|no tar)"):
        unpack_tar(archive, into)


@pytest.mark.parametrize("position", [60, -6])
def test_a_flipped_bit_of_a_tar_is_found_by_the_checksum(tmp_path, into, position):
    archive = _tar(tmp_path / "a.tgz", [("a", bytes(range(256)) * 20)])
    content = bytearray(archive.read_bytes())
    content[position] ^= 1
    archive.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.tgz"):
        unpack_tar(archive, into)


def test_the_name_tells_the_kind(tmp_path, into):
    _zip(tmp_path / "z.part", [("z", "z")])
    _tar(tmp_path / "t.part", [("t", b"t")])
    unpack(tmp_path / "z.part", into, name="z", kind="x.ZIP")
    unpack(tmp_path / "t.part", into, name="t", kind="x.tar.gz")
    assert sorted(path.name for path in into.iterdir()) == ["t", "z"]
    assert [folder_name(name) for name in ("a.zip", "a.tgz", "a.b.tar.gz", "a.mat")] == ["a", "a", "a.b", None]
