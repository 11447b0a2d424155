import pytest

from hsipipe.artifacts.registration import Registration
from hsipipe.errors import IntegrityError, MissingInputError


@pytest.mark.parametrize("entry", [Registration("a-x4"), Registration("a-x4", "edsr", 2, "challenger", fuses=True)])
def test_an_entry_survives_its_file(tmp_path, entry):
    (tmp_path / "reports").mkdir()
    (tmp_path / Registration.PATH).write_text(entry.as_json(), encoding="utf-8")
    assert Registration.read(tmp_path) == entry


def test_the_address_has_the_alias():
    assert Registration("a-x4", "edsr", 2, "challenger").uri == "models:/a-x4@challenger"


def test_a_missing_or_damaged_entry_names_what_to_run(tmp_path):
    with pytest.raises(MissingInputError, match="Run the stage register"):
        Registration.read(tmp_path)
    (tmp_path / "reports").mkdir()
    for text in ("{", "[]", '{"title": 1}'):
        (tmp_path / Registration.PATH).write_text(text, encoding="utf-8")
        with pytest.raises(IntegrityError, match="is damaged"):
            Registration.read(tmp_path)
