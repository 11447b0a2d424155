import sys

import pytest

from hsipipe.errors import HsipipeError, UnknownNameError
from hsipipe.registry import Registry


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that no test has imported yet."""
    (tmp_path / "registered_here.py").write_text("thing = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "registered_here"
    sys.modules.pop("registered_here", None)


@pytest.fixture
def table(module):
    return Registry("sensor", {"thing": f"{module}:thing", "other": "nowhere.at_all:other"})


def test_a_name_is_imported_when_it_is_asked_for(table, module):
    assert module not in sys.modules
    thing = table["thing"]
    assert thing is sys.modules[module].thing
    assert table["thing"] is thing


def test_names_are_listed_without_importing_anything(table, module):
    assert list(table) == ["thing", "other"]
    assert len(table) == 2
    assert "other" in table
    assert "another" not in table
    assert module not in sys.modules


def test_an_unknown_name_lists_the_names_and_the_nearest(table):
    with pytest.raises(UnknownNameError) as caught:
        table["thin"]
    assert str(caught.value) == "Unknown sensor 'thin'. Did you mean 'thing'? Known sensors: other, thing."
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, HsipipeError)


def test_a_name_like_no_other_has_no_suggestion(table):
    with pytest.raises(UnknownNameError, match=r"^Unknown sensor 'zzz'\. Known sensors: other, thing\.$"):
        table["zzz"]


def test_get_falls_back_as_any_mapping_does(table):
    assert table.get("zzz") is None


def test_the_table_is_a_copy():
    names = {"a": "math:pi"}
    registry = Registry("number", names)
    names["b"] = "math:e"
    assert list(registry) == ["a"]
