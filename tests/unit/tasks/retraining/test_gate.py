"""Refuse a challenger before the gate compares it."""

import pytest

from hsipipe.artifacts import RegisteredModel
from hsipipe.artifacts.registration import Registration
from hsipipe.errors import MissingInputError
from hsipipe.storage.manifest import digest
from hsipipe.storage.publish import publish
from tasks.retraining import gate
from tasks.tracking import Standing


@pytest.fixture
def stands(root, monkeypatch):
    """A function that sets the tags of version 2, the challenger; version 1 is the champion."""
    own = RegisteredModel.in_project(root).path
    with publish(own) as out:
        (out / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(gate, "head", lambda _: "0" * 40)

    def stand(**tags):
        versions = {1: {}, 2: {"sha256": digest(own), **tags}}
        monkeypatch.setattr(gate, "standing", lambda *_: Standing(1, 2, versions, ()))
        return gate.undecided(root, "hsipipe-test").reasons

    return stand


def test_without_a_trained_method_nothing_can_be_judged(stands, root):
    (root / "reports").mkdir()
    (root / Registration.PATH).write_text(Registration("hsipipe-test").as_json(), encoding="utf-8")
    with pytest.raises(MissingInputError, match="No compared method is trained"):
        stands()


def test_a_challenger_of_a_completed_training_is_compared(stands):
    assert stands() == ()


def test_a_challenger_whose_training_collapsed_is_not(stands):
    (reason,) = stands(fault="collapsed at step 400 after 2 restarts")
    assert "not completed (collapsed at step 400" in reason
    assert "hsipipe promote" in reason
