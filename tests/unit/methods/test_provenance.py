"""A model says what it was fitted on."""

import json

import pytest

from hsipipe.artifacts import DegradedPairs
from hsipipe.errors import IntegrityError
from hsipipe.methods.provenance import FILE, Ground, fitted_ground, seen_scenes, write_provenance


def entry(scene, box=(0, 8, 0, 8), sha256=None):
    found = {"name": scene, "scene": scene, "region": list(box)}
    return found | ({} if sha256 is None else {"sha256": sha256})


@pytest.fixture
def make_pairs(tmp_path):
    def make(label, **splits):
        folder = tmp_path / label
        folder.mkdir()
        tree = {"splits": {part: splits.get(part, []) for part in ("train", "val", "test")}}
        (folder / "pairs.json").write_text(json.dumps(tree), encoding="utf-8")
        return DegradedPairs(folder)

    return make


@pytest.fixture
def dataset(params):
    return params.dataset.model_copy(update={"name": "folder"})


def test_training_and_validation_are_noted_and_the_test_is_not(make_pairs, dataset, tmp_path):
    pairs = make_pairs("pairs", train=[entry("a", sha256="1")], val=[entry("b")], test=[entry("c")])
    write_provenance(tmp_path, pairs, dataset=dataset)
    assert fitted_ground(tmp_path) == [
        Ground("folder", "a", (0, 8, 0, 8), "1"),
        Ground("folder", "b", (0, 8, 0, 8), None),
    ]


def test_a_test_scene_counts_as_seen_by_its_place_or_by_its_bytes(make_pairs, dataset, tmp_path):
    before = make_pairs("before", train=[entry("a", sha256="1"), entry("b", (0, 8, 0, 8))], val=[entry("c")])
    write_provenance(tmp_path, before, dataset=dataset)
    ground = fitted_ground(tmp_path)
    now = make_pairs(
        "now",
        test=[
            entry("renamed", sha256="1"),
            entry("b", (8, 16, 0, 8)),  # another part of the scene
            entry("b", (7, 16, 0, 8)) | {"name": "b@7_0"},
            entry("c", sha256="2"),  # changed since, the same place
            entry("d", sha256="3"),
        ],
    )
    assert seen_scenes(ground, now, dataset=dataset) == ["renamed", "b@7_0", "c"]


def test_generated_scenes_of_another_seed_share_the_name_alone(make_pairs, params, tmp_path):
    made = make_pairs("made", train=[entry("scene_00")], test=[entry("scene_00")])
    write_provenance(tmp_path, made, dataset=params.dataset)
    ground = fitted_ground(tmp_path)
    other = params.dataset.model_copy(update={"synthetic": params.dataset.synthetic.model_copy(update={"seed": 7})})
    assert seen_scenes(ground, made, dataset=params.dataset) == ["scene_00"]
    assert seen_scenes(ground, made, dataset=other) == []


def test_a_model_that_says_nothing_and_one_that_says_nonsense(tmp_path):
    assert fitted_ground(tmp_path) is None
    (tmp_path / FILE).write_text('{"train": 3}', encoding="utf-8")
    with pytest.raises(IntegrityError, match="damaged"):
        fitted_ground(tmp_path)
