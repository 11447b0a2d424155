import json

import pytest

from hsipipe.datasets.splits import plan_split
from hsipipe.errors import DataError, UnknownNameError
from hsipipe.evaluation import metrics
from hsipipe.params import DatasetParams, DegradationParams, SplitParams
from hsipipe.protocols import METRIC_DEFINITIONS, PROTOCOLS, make_protocol, require_same

SHAPES = {f"s{number}": (32, 32) for number in range(4)}


def protocol(*, name="default", dataset=None, split=None, degradation=None, synthetic=None, shapes=SHAPES):
    """The protocol of scenes of these shapes, divided and degraded as the stages do it."""
    made_of = {"scenes": 4, "size": 32, "bands": 8, "seed": 0, **(synthetic or {})}
    by = {
        "by": "auto",
        "val": 0.2,
        "test": 0.2,
        "test_scenes": [],
        "val_scenes": [],
        "guard": 8,
        "seed": 0,
        **(split or {}),
    }
    low = {"scale": 4, "crop_remainder": False, "srf": "rgb", **(degradation or {})}
    how = SplitParams.model_validate(by)
    regions = plan_split(shapes, how, scale=low["scale"])
    return make_protocol(
        name,
        dataset=DatasetParams.model_validate(
            {"name": "synthetic", "root": None, "synthetic": made_of, **(dataset or {})}
        ),
        split=how,
        degradation=DegradationParams.model_validate(low),
        plan={
            part: [{"name": r.scene, "region": [r.y0, r.y1, r.x0, r.x1]} for r in entries]
            for part, entries in regions.items()
        },
    )


def test_the_hash_is_sixteen_hexadecimal_digits_and_stable():
    assert protocol().hash == protocol().hash
    assert len(protocol().hash) == 16
    int(protocol().hash, 16)


def test_where_the_files_lie_is_no_part_of_it():
    cave = {"name": "cave"}
    assert protocol(dataset={**cave, "root": "/somewhere"}).hash == protocol(dataset=cave).hash


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": {"name": "cave"}},
        {"synthetic": {"seed": 1}},
        {"split": {"test": 0.5}},
        {"split": {"test_scenes": ["s1"], "val_scenes": ["s0"]}},
        {"split": {"by": "region", "guard": 0}},
        {"degradation": {"scale": 2}},
        {"degradation": {"srf": "ikonos"}},
        {"shapes": {**SHAPES, "s0": (32, 36)}},
    ],
)
def test_what_changes_the_numbers_changes_the_hash(change):
    assert protocol(**change).hash != protocol().hash


def test_some_scenes_of_a_data_set_are_another_experiment_than_all():
    cave = {"dataset": {"name": "cave"}}
    whole = {f"scene_{number:02}": (512, 512) for number in range(32)}
    some = dict(list(whole.items())[:9])
    assert protocol(**cave, shapes=some).hash != protocol(**cave, shapes=whole).hash
    reordered = dict(reversed(whole.items()))
    assert protocol(**cave, shapes=reordered).hash == protocol(**cave, shapes=whole).hash


def test_another_training_set_is_another_experiment_even_with_the_same_test_set():
    named = {"split": {"test_scenes": ["s1"], "val_scenes": ["s0"]}}
    fewer = {name: shape for name, shape in SHAPES.items() if name != "s3"}
    assert protocol(**named).plan["test"] == protocol(**named, shapes=fewer).plan["test"] == ["s1[0:32,0:32]"]
    assert protocol(**named).hash != protocol(**named, shapes=fewer).hash


def test_another_way_to_the_same_scenes_is_the_same_experiment():
    (test,), (val,) = (protocol().plan[part] for part in ("test", "val"))
    by_name = {"test_scenes": [test.partition("[")[0]], "val_scenes": [val.partition("[")[0]]}
    same = protocol(split={"by": "scene", **by_name})
    assert same.hash == protocol().hash
    require_same(same, protocol())


def test_synthetic_parameters_count_for_synthetic_scenes_alone():
    cave = {"name": "cave"}
    assert protocol(dataset=cave, synthetic={"seed": 1}).hash == protocol(dataset=cave).hash


def test_every_metric_is_defined_in_it():
    hashed = protocol().fields()
    assert {key for key in hashed if key.startswith("metrics.")} == {f"metrics.{key}" for key in METRIC_DEFINITIONS}
    assert all(callable(getattr(metrics, key)) for key in METRIC_DEFINITIONS)


def test_json_carries_name_hash_fields_and_how_the_scenes_were_divided():
    frame = protocol()
    entry = json.loads(json.dumps(frame.as_json(), allow_nan=False))
    assert (entry["name"], entry["hash"]) == ("default", frame.hash)
    for pair in (["degradation.srf", "rgb"], ["split.guard", 8], ["plan.test", list(frame.plan["test"])]):
        assert pair in entry["fields"]


def test_unknown_names_are_refused_with_the_known_ones():
    assert "default" in PROTOCOLS
    with pytest.raises(UnknownNameError, match=r"Unknown protocol 'defualt'.*'default'"):
        protocol(name="defualt")


def test_results_of_different_protocols_are_not_compared():
    here, there = protocol(), protocol(degradation={"scale": 2}, split={"test_scenes": ["s0", "s1"]})
    require_same(here, protocol(dataset={"root": "x"}))
    with pytest.raises(DataError, match=r"scale: 4 against 2; split.test_scenes: \(none\) against s0, s1\. Evaluate"):
        require_same(here, there.as_json())


def test_of_long_lists_only_what_differs_is_told():
    whole = {f"scene_{number:02}": (32, 32) for number in range(32)}
    here = protocol(shapes=whole, split={"test_scenes": ["scene_00", "scene_01"], "val_scenes": ["scene_31"]})
    there = protocol(shapes=whole, split={"test_scenes": ["scene_00", "scene_02"], "val_scenes": ["scene_31"]})
    with pytest.raises(DataError) as caught:
        require_same(here, there.as_json())
    assert "plan.test: scene_01[0:32,0:32] against scene_02[0:32,0:32];" in str(caught.value)
    assert "scene_05" not in str(caught.value)


def test_bare_hashes_are_enough_to_refuse():
    with pytest.raises(DataError, match="fields were not recorded"):
        require_same({"name": "default", "hash": "a"}, {"name": "default", "hash": "b"})
