"""A result that cannot be written is refused before the work."""

import os
import resource
import shutil

import pytest

from hsipipe.errors import DataError
from hsipipe.storage import space
from hsipipe.storage.space import check_folder, check_space, size_text


@pytest.fixture
def free(monkeypatch):
    """A function that sets the free bytes of the disk."""

    def set_free(nbytes):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, nbytes))

    return set_free


def test_a_full_disk_is_told_with_both_sizes(tmp_path, free):
    free(10**9)
    check_space(tmp_path / "a.nc", 10**9)
    with pytest.raises(DataError, match=rf"a\.nc needs up to 1\.5 GB, but the disk of {tmp_path} has 1 GB free; free"):
        check_space(tmp_path / "a.nc", 1_500_000_000)


def test_a_limit_of_the_size_of_a_file_is_told(tmp_path, free, monkeypatch):
    free(10**12)
    monkeypatch.setattr(space.resource, "getrlimit", lambda kind: (1000, resource.RLIM_INFINITY))
    check_space(tmp_path / "a.nc", 2000, files=2)
    check_space(tmp_path / "a.zarr", 2000, files=0)
    with pytest.raises(DataError, match=r"needs 1 kB, but this process may write files of at most 1 kB \(ulimit -f\)"):
        check_space(tmp_path / "a.nc", 2002, files=2)


def test_a_folder_that_is_not_writable_is_told(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    check_folder(tmp_path / "a.nc")
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(space.tempfile, "TemporaryFile", refuse)
    with pytest.raises(
        DataError, match=rf"the folder {tmp_path} is not writable \(Permission denied\); change its mode"
    ):
        check_folder(tmp_path / "a.nc")


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_a_name_that_leaves_no_place_for_a_temporary_one_is_told(tmp_path, letter):
    with pytest.raises(DataError, match=r"has 2\d\d bytes, expected a name of at most 2\d\d bytes"):
        check_folder(tmp_path / (letter * (245 // len(letter.encode())) + ".nc"))


@pytest.mark.parametrize(("nbytes", "text"), [(0, "0 bytes"), (999, "999 bytes"), (5e6, "5 MB"), (2.5e12, "2.5 TB")])
def test_sizes_as_text(nbytes, text):
    assert size_text(nbytes) == text
