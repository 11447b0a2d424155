import json

import pytest

from hsipipe.errors import DataError, UnknownNameError
from hsipipe.evaluation import metrics
from hsipipe.params import DatasetParams, DegradationParams, SplitParams
from hsipipe.protocols import METRIC_DEFINITIONS, PROTOCOLS, make_protocol, require_same


def protocol(*, name="default", dataset=None, split=None, degradation=None, synthetic=None):
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
    return make_protocol(
        name,
        dataset=DatasetParams.model_validate(
            {"name": "synthetic", "root": None, "synthetic": made_of, **(dataset or {})}
        ),
        split=SplitParams.model_validate(by),
        degradation=DegradationParams.model_validate(low),
    )


def test_the_hash_is_sixteen_hexadecimal_digits_and_stable():
    assert protocol().hash == protocol().hash
    assert len(protocol().hash) == 16
    int(protocol().hash, 16)


def test_where_the_files_lie_is_no_part_of_it():
    assert protocol(dataset={"root": "/somewhere"}).hash == protocol().hash


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": {"name": "cave"}},
        {"synthetic": {"seed": 1}},
        {"split": {"test": 0.3}},
        {"split": {"test_scenes": ["a"]}},
        {"degradation": {"scale": 2}},
        {"degradation": {"srf": "ikonos"}},
    ],
)
def test_what_changes_the_numbers_changes_the_hash(change):
    assert protocol(**change).hash != protocol().hash


def test_synthetic_parameters_count_for_synthetic_scenes_alone():
    cave = {"name": "cave"}
    assert protocol(dataset=cave, synthetic={"seed": 1}).hash == protocol(dataset=cave).hash


def test_every_metric_is_defined_in_it():
    hashed = protocol().fields()
    assert {key for key in hashed if key.startswith("metrics.")} == {f"metrics.{key}" for key in METRIC_DEFINITIONS}
    assert all(callable(getattr(metrics, key)) for key in METRIC_DEFINITIONS)


def test_description_and_json_carry_name_hash_and_fields():
    frame = protocol()
    assert frame.hash in frame.describe()
    assert "split.guard: 8" in frame.describe()
    entry = json.loads(json.dumps(frame.as_json(), allow_nan=False))
    assert (entry["name"], entry["hash"]) == ("default", frame.hash)
    assert ["degradation.srf", "rgb"] in entry["fields"]


def test_unknown_names_are_refused_with_the_known_ones():
    assert "default" in PROTOCOLS
    with pytest.raises(UnknownNameError, match=r"Unknown protocol 'defualt'.*'default'"):
        protocol(name="defualt")


def test_results_of_different_protocols_are_not_compared():
    here, there = protocol(), protocol(degradation={"scale": 2}, split={"test_scenes": ["a", "b"]})
    require_same(here, protocol(dataset={"root": "x"}))
    with pytest.raises(DataError, match=r"scale: 4 against 2; split.test_scenes: \(none\) against a, b\. Evaluate"):
        require_same(here, there.as_json())


def test_bare_hashes_are_enough_to_refuse():
    with pytest.raises(DataError, match="fields were not recorded"):
        require_same({"name": "default", "hash": "a"}, {"name": "default", "hash": "b"})
