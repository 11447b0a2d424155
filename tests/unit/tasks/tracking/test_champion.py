"""The champion's alias: it moves last, moves back, and forgets nothing."""

import json
from dataclasses import asdict, replace

import numpy as np
import psutil
import pytest

from hsipipe.errors import AlreadyRunningError, HsipipeError, IntegrityError, MissingInputError
from hsipipe.model_registry.load import load_registered
from hsipipe.model_registry.store import connect
from hsipipe.params import load_params
from hsipipe.storage.publish import publish
from tasks.running.owner import Owner
from tasks.tracking import champion as module
from tasks.tracking import promote, register_model, rollback, standing
from tasks.tracking.moves import Claim, Move
from tasks.tracking.runs import stage_run

pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

BANDS, NAME = 8, "hsipipe-synthetic-x4"


@pytest.fixture
def registry(root, tmp_path, small_model):
    """A project with three versions in its registry, the last one the challenger."""
    params = load_params(root / "params.yaml")
    for seed in (1, 2, 3):
        folder = tmp_path / str(seed) / "superresolver"
        with publish(folder) as out:
            small_model(seed).save(out)
        model = small_model(seed)
        with stage_run(root, "register", params=params, visible={}, digests={}) as tracker:
            assert register_model(root, folder, tracker=tracker, model=model, tags={}) == seed
    return root


def move(root, version, **evidence):
    return promote(root, NAME, version, expected=standing(root, NAME), reason="better", evidence=evidence)


def moves(root):
    return [(entry.kind, entry.previous, entry.version) for entry in standing(root, NAME).moves]


def test_a_promotion_moves_the_alias_and_keeps_the_evidence(registry):
    assert standing(registry, NAME).champion is None
    move(registry, 1, gain=0.4)
    move(registry, 3)
    now = standing(registry, NAME)
    assert (now.champion, now.challenger, now.withdrawn) == (3, 3, [])
    assert now.versions[1]["gain"] == "0.4"
    assert moves(registry) == [("promotion", None, 1), ("promotion", 1, 3)]


def test_a_rollback_goes_back_one_by_one_and_withdraws(registry, small_model):
    lr = np.random.default_rng(0).random((1, BANDS, 4, 4), dtype=np.float32)
    for version in (1, 2, 3):
        move(registry, version)
    assert rollback(registry, NAME, reason="stripes").version == 2
    assert rollback(registry, NAME, reason="still").version == 1
    champion = load_registered(registry, f"models:/{NAME}@champion").predict(lr)
    np.testing.assert_array_equal(champion, small_model(1).predict(lr))
    now = standing(registry, NAME)
    assert now.withdrawn == [2, 3]
    assert "stripes" in now.moves[-2].reason
    with pytest.raises(MissingInputError, match="is the first champion"):
        rollback(registry, NAME, reason="further")
    assert moves(registry)[-2:] == [("rollback", 3, 2), ("rollback", 2, 1)]


def test_a_rollback_by_name_and_a_promotion_by_hand_of_what_was_withdrawn(registry):
    for version in (1, 2, 3):
        move(registry, version)
    assert rollback(registry, NAME, to=1, reason="spring").version == 1
    assert standing(registry, NAME).withdrawn == [3]
    with pytest.raises(HsipipeError, match="promote it by hand"):
        move(registry, 3)
    promote(registry, NAME, 3, expected=standing(registry, NAME), reason="sure", evidence={}, by_hand=True)
    assert (standing(registry, NAME).champion, standing(registry, NAME).withdrawn) == (3, [])
    assert rollback(registry, NAME, reason="again").version == 1


def test_without_a_champion_there_is_nothing_to_roll_back(registry):
    with pytest.raises(MissingInputError, match="no champion"):
        rollback(registry, NAME, reason="why not")
    with pytest.raises(MissingInputError, match="No model 'nobody'"):
        rollback(registry, "nobody", reason="why not")


def test_who_comes_late_moves_nothing(registry):
    early = standing(registry, NAME)
    move(registry, 1)
    with pytest.raises(HsipipeError, match="is version 1 now and was None"):
        promote(registry, NAME, 2, expected=early, reason="better", evidence={})
    # There and back again: the champion is the same, and what was decided before is void all the same.
    judged = standing(registry, NAME)
    move(registry, 3)
    rollback(registry, NAME, reason="stripes")
    with pytest.raises(HsipipeError, match="at the start"):
        promote(registry, NAME, 3, expected=judged, reason="better", evidence={})
    assert standing(registry, NAME).champion == 1


def test_a_version_whose_bytes_changed_does_not_become_the_champion(registry):
    move(registry, 1)
    for path in (registry / "mlartifacts").rglob("model.safetensors"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    with pytest.raises(IntegrityError):
        move(registry, 2)
    with pytest.raises(IntegrityError):
        rollback(registry, NAME, to=3, reason="back")
    assert standing(registry, NAME).champion == 1
    assert moves(registry) == [("promotion", None, 1)]


@pytest.fixture
def killed_before_the_alias(registry, monkeypatch):
    """Runs a move that is killed when all but the alias is written."""

    class Killed(BaseException):
        pass

    def die(*_args):
        raise Killed

    def run(action):
        with monkeypatch.context() as patch:
            patch.setattr(type(connect(registry)), "set_registered_model_alias", die)
            with pytest.raises(Killed):
                action()

    return run


def test_a_promotion_killed_before_the_alias_moved_has_not_happened(registry, killed_before_the_alias):
    move(registry, 1)
    killed_before_the_alias(lambda: move(registry, 2))
    assert standing(registry, NAME).champion == 1
    assert moves(registry) == [("promotion", None, 1)]
    move(registry, 3)
    assert moves(registry) == [("promotion", None, 1), ("promotion", 1, 3)]
    tags = connect(registry).get_registered_model(NAME).tags
    assert sorted(key.rpartition(".")[0] for key in tags) == ["champion.0001", "champion.0002", "champion.0003"]


def test_a_rollback_killed_before_the_alias_moved_withdraws_nothing(registry, killed_before_the_alias):
    move(registry, 1)
    move(registry, 2)
    killed_before_the_alias(lambda: rollback(registry, NAME, reason="stripes"))
    assert (standing(registry, NAME).champion, standing(registry, NAME).withdrawn) == (2, [])
    assert rollback(registry, NAME, reason="stripes").version == 1
    assert standing(registry, NAME).withdrawn == [2]


def test_what_another_tool_does_to_the_alias_loses_no_history(registry):
    client = connect(registry)
    move(registry, 1)
    move(registry, 2)
    client.set_registered_model_alias(NAME, "champion", "3")
    assert moves(registry) == [("promotion", None, 1), ("promotion", 1, 2)]
    assert rollback(registry, NAME, reason="stripes").version == 2
    assert moves(registry)[-1] == ("rollback", 3, 2)
    client.delete_registered_model_alias(NAME, "champion")
    assert len(moves(registry)) == 3
    assert standing(registry, NAME).champion is None


def test_a_champion_older_than_the_history_can_be_gone_back_to(registry):
    connect(registry).set_registered_model_alias(NAME, "champion", "1")
    move(registry, 2)
    assert rollback(registry, NAME, reason="stripes").version == 1


CALLS = [f"{verb}_registered_model{noun}" for verb, noun in (("get", ""), ("set", "_tag"), ("set", "_alias"))]


class Interruption:
    """Runs an action just before one of the registry's calls that another action makes."""

    def __init__(self, client, patch, *, number, action):
        self.calls, self._number, self._action, self._inside = 0, number, action, False
        for name in CALLS:
            patch.setattr(client, name, self._watched(getattr(client, name)))

    def _watched(self, real):
        def call(*args, **kwargs):
            if not self._inside:
                self.calls += 1
                if self.calls == self._number:
                    self._inside = True
                    self._action()
                    self._inside = False
            return real(*args, **kwargs)

        return call


class Promoter:
    """Promotes a version from a checkout, and tells when it succeeded."""

    def __init__(self, root, version, told, expected=None):
        self.root, self.version, self.told, self.expected = root, version, told, expected

    def __call__(self):
        expected = self.expected or standing(self.root, NAME)
        try:
            promote(self.root, NAME, self.version, expected=expected, reason="better", evidence={})
        except HsipipeError:
            return
        self.told.append(self.version)


@pytest.mark.parametrize("decided", ["before", "late"])
def test_of_two_checkouts_on_one_registry_none_undoes_the_other(registry, tmp_path, monkeypatch, decided):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registry / 'mlflow.db'}")
    monkeypatch.setattr(module, "fetch_pinned", lambda *_: None)
    other, someone = tmp_path / "other", Owner.of(psutil.Process().parent())
    client = type(connect(registry))
    move(registry, 1)
    number, calls = 0, 0
    while calls >= number:  # until the first move ends before the other one would come in between
        number += 1
        before, told = standing(registry, NAME), []
        mine, theirs = (version for version in (1, 2, 3) if version != before.champion)
        ours = Promoter(registry, mine, told, before)
        second = Promoter(other, theirs, told, before if decided == "before" else None)
        with monkeypatch.context() as patch:

            def elsewhere(patch=patch, second=second):
                with pytest.MonkeyPatch.context() as inner:
                    inner.setattr(Owner, "me", classmethod(lambda _: someone))
                    second()

            interruption = Interruption(client, patch, number=number, action=elsewhere)
            ours()
            calls = interruption.calls
        now = standing(registry, NAME)
        # Who moved first tells it last: the other one came in between.
        assert [entry.version for entry in now.moves] == [entry.version for entry in before.moves] + told[::-1]
        assert now.champion == (told[0] if told else before.champion)
        assert now.pending == []
    assert number > 4


def pending_claim(root, owner, *, at, host=None):
    claim = Claim.new(2, Move(2, 1, "promotion", "better", at, False))
    claim = replace(claim, owner=owner, host=claim.host if host is None else host)
    connect(root).set_registered_model_tag(NAME, claim.key, claim.text())


def test_a_claim_whose_process_may_live_is_waited_for_and_an_old_or_dead_one_is_not(registry, monkeypatch):
    monkeypatch.setattr(module, "fetch_pinned", lambda *_: None)
    move(registry, 1)
    now, living, gone = module.now_utc(), Owner.of(psutil.Process().parent()), Owner(2**30, Owner.me().created)
    for owner, at, host in ((living, now, None), (gone, now, "elsewhere")):
        pending_claim(registry, owner, at=at, host=host)
        with pytest.raises(AlreadyRunningError, match=r"is moving the champion of .* to version 2; nothing moved"):
            move(registry, 3)
        assert standing(registry, NAME).champion == 1
        (claim,) = standing(registry, NAME).pending
        connect(registry).delete_registered_model_tag(NAME, claim.key)
    for owner, at in ((gone, now), (living, "2020-01-01T00:00:00Z")):
        pending_claim(registry, owner, at=at)
    move(registry, 3)
    assert moves(registry) == [("promotion", None, 1), ("promotion", 1, 3)]


def test_a_history_without_tokens_is_read_and_continued(registry):
    old = Move(1, None, "promotion", "better", "2024-05-12T02:00:00Z", False)
    client = connect(registry)
    client.set_registered_model_tag(NAME, "champion.0001", json.dumps(asdict(old)))
    client.set_registered_model_alias(NAME, "champion", "1")
    move(registry, 2)
    assert moves(registry) == [("promotion", None, 1), ("promotion", 1, 2)]


def test_a_damaged_history_is_named(registry):
    for text in ("[" * 5000, "{}", '{"version": 1}', "none"):
        connect(registry).set_registered_model_tag(NAME, "champion.0001", text)
        with pytest.raises(IntegrityError, match=r"The tag champion\.0001"):
            standing(registry, NAME)
