import hashlib
import json

import pytest

from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.storage.manifest import MANIFEST, digest, verify, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.bin").write_bytes(b"bb")
    (tmp_path / "a.bin").write_bytes(b"a")
    write_manifest(tmp_path)
    return tmp_path


def test_lists_every_file_with_size_and_sha256(folder):
    files = json.loads((folder / MANIFEST).read_text())["files"]
    assert files == {
        "a.bin": {"bytes": 1, "sha256": hashlib.sha256(b"a").hexdigest()},
        "sub/b.bin": {"bytes": 2, "sha256": hashlib.sha256(b"bb").hexdigest()},
    }


def test_the_digest_follows_the_content(folder):
    first = digest(folder)
    write_manifest(folder)
    assert digest(folder) == first
    (folder / "a.bin").write_bytes(b"c")
    write_manifest(folder)
    assert digest(folder) != first


def test_a_missing_file_is_named(folder):
    (folder / "sub" / "b.bin").unlink()
    with pytest.raises(IntegrityError, match=r"sub/b\.bin is missing"):
        verify(folder)


def test_a_flipped_bit_is_named(folder):
    (folder / "a.bin").write_bytes(b"b")
    verify(folder, content=False)
    with pytest.raises(IntegrityError, match=r"a\.bin has sha256"):
        verify(folder)


def test_a_truncated_file_is_found_without_reading(folder):
    (folder / "sub" / "b.bin").write_bytes(b"b")
    with pytest.raises(IntegrityError, match=r"b\.bin has 1 bytes, expected 2"):
        verify(folder, content=False)


@pytest.mark.parametrize("check", [verify, digest])
def test_without_a_manifest_the_stage_did_not_run(tmp_path, check):
    with pytest.raises(MissingInputError, match="Run the stage"):
        check(tmp_path)


@pytest.mark.parametrize("content", [True, False])
def test_an_empty_manifest_verifies_nothing(folder, content):
    (folder / MANIFEST).write_text('{"files": {}}')
    with pytest.raises(IntegrityError, match="lists no file"):
        verify(folder, content=content)


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("name", ["c.bin", "sub/config.json", "new/.hidden"])
def test_a_file_that_is_not_listed_is_named(folder, name, content):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(IntegrityError, match=rf"{name} is not listed"):
        verify(folder, content=content)


def test_what_a_file_manager_adds_is_no_damage(folder):
    for name in (".DS_Store", "sub/._b.bin"):
        (folder / name).write_bytes(b"")
    verify(folder)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"files": 3}', '{"files": {"a.bin": 1}}', '{"files": {"a.bin": {"bytes": 1}}}'),
        *('{"files": {"a.bin": {"bytes": "1", "sha256": "x"}}}', '{"files": {"../a": {"bytes": 1, "sha256": "x"}}}'),
        '{"files": {"/etc/passwd": {"bytes": 1, "sha256": "x"}}}',
    ],
)
def test_a_damaged_manifest(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(IntegrityError, match="damaged"):
        digest(folder)
