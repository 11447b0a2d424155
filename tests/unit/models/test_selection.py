import json

import pytest

from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.models.selection import VALIDATION, best_on_validation, read_validation, write_validation


@pytest.fixture
def checkpoint(tmp_path):
    def make(name, mpsnr_db):
        folder = tmp_path / name
        folder.mkdir()
        write_validation(folder, mpsnr_db=mpsnr_db)
        return folder

    return make


def test_the_best_on_validation_is_chosen_whatever_the_order(checkpoint):
    folders = {name: checkpoint(name, value) for name, value in (("a", 30.5), ("b", 31.25), ("c", 29.0))}
    assert best_on_validation(folders) == "b"
    assert best_on_validation(dict(reversed(folders.items()))) == "b"
    assert best_on_validation({name: folders[name] for name in ("a", "c")}) == "a"


def test_of_equal_ones_the_first_is_chosen(checkpoint):
    folders = {name: checkpoint(name, 30.0) for name in ("b", "a")}
    assert best_on_validation(folders) == "b"


def test_what_was_written_is_read(checkpoint):
    assert read_validation(checkpoint("a", 31.197532)) == 31.197532


def test_a_checkpoint_that_says_nothing_of_its_validation_is_an_error(checkpoint, tmp_path):
    with pytest.raises(MissingInputError, match=r"does not say how it validated: no validation\.json; train it again"):
        best_on_validation({"a": checkpoint("a", 30.0), "b": tmp_path / "nowhere"})


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({"mpsnr_db": "high"}), '{"mpsnr_db": NaN}'])
def test_a_damaged_file_is_an_error(checkpoint, text):
    folder = checkpoint("a", 30.0)
    (folder / VALIDATION).write_text(text)
    with pytest.raises(IntegrityError, match="train it again"):
        read_validation(folder)
