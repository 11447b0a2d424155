import json
from itertools import combinations, product

import pytest

from hsipipe.datasets.cave import SCENES
from hsipipe.datasets.splits import plan_split
from hsipipe.errors import DataError, ParamsError, UnknownNameError
from hsipipe.params import load_params, parse_params
from hsipipe.protocols import PROTOCOLS, make_protocol, metrics, require_same, setup_of
from hsipipe.protocols.metrics import METRIC, METRICS, Metric
from hsipipe.registry import resolve

SHAPES = {f"s{number}": (32, 32) for number in range(4)}


@pytest.fixture
def protocol(make_params):
    """The protocol of scenes of these shapes, divided and degraded as the stages do it."""

    def build(*, name="default", dataset=None, split=None, degradation=None, synthetic=None, shapes=SHAPES):
        made_of = {"scenes": 4, "size": 32, "bands": 8, **(synthetic or {})}
        by = make_params("split", **{"val": 0.2, "test": 0.2, "guard": 8, **(split or {})})
        low = make_params("degradation", **(degradation or {}))
        regions = plan_split(shapes, by, scale=low.scale)
        return make_protocol(
            name,
            dataset=make_params("dataset", **{"synthetic": made_of, **(dataset or {})}),
            split=by,
            degradation=low,
            plan={
                part: [{"name": r.scene, "scene": r.scene, "region": [r.y0, r.y1, r.x0, r.x1]} for r in entries]
                for part, entries in regions.items()
            },
            srf=low.srf,
        )

    return build


def test_the_hash_is_sixteen_hexadecimal_digits_and_stable(protocol):
    assert protocol().hash == protocol().hash
    assert len(protocol().hash) == 16
    int(protocol().hash, 16)


def test_where_the_files_lie_is_no_part_of_it(protocol):
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
def test_what_changes_the_numbers_changes_the_hash(change, protocol):
    assert protocol(**change).hash != protocol().hash


def test_some_scenes_of_a_data_set_are_another_experiment_than_all(protocol):
    cave = {"dataset": {"name": "cave"}}
    whole = {f"scene_{number:02}": (512, 512) for number in range(32)}
    some = dict(list(whole.items())[:9])
    assert protocol(**cave, shapes=some).hash != protocol(**cave, shapes=whole).hash
    reordered = dict(reversed(whole.items()))
    assert protocol(**cave, shapes=reordered).hash == protocol(**cave, shapes=whole).hash


def test_another_training_set_is_another_experiment_even_with_the_same_test_set(protocol):
    named = {"split": {"test_scenes": ["s1"], "val_scenes": ["s0"]}}
    fewer = {name: shape for name, shape in SHAPES.items() if name != "s3"}
    assert protocol(**named).plan["test"] == protocol(**named, shapes=fewer).plan["test"] == ["s1@0:32x0:32"]
    assert protocol(**named).hash != protocol(**named, shapes=fewer).hash


def test_another_way_to_the_same_scenes_is_the_same_experiment(protocol):
    (test,), (val,) = (protocol().plan[part] for part in ("test", "val"))
    by_name = {"test_scenes": [test.partition("@")[0]], "val_scenes": [val.partition("@")[0]]}
    same = protocol(split={"by": "scene", **by_name})
    assert same.hash == protocol().hash
    require_same(same, protocol())


def test_cropping_counts_by_the_regions_that_it_leaves(protocol):
    assert protocol(degradation={"crop_remainder": True}).hash == protocol().hash


def test_other_files_in_the_user_s_folder_are_another_experiment(make_params):
    def of(digest):
        plan = {
            part: [{"name": part, "scene": part, "region": [0, 8, 0, 8], "sha256": digest}]
            for part in ("train", "val", "test")
        }
        groups = {"dataset": make_params("dataset", name="folder"), "split": make_params("split")}
        return make_protocol("default", **groups, degradation=make_params("degradation"), plan=plan, srf=None)

    assert of("0" * 64).hash == of("0" * 64).hash
    with pytest.raises(DataError, match=r"dataset\.sha256\.test: 0{64} against 1{64}"):
        require_same(of("0" * 64), of("1" * 64))


def test_synthetic_parameters_count_for_synthetic_scenes_alone(protocol):
    cave = {"name": "cave"}
    assert protocol(dataset=cave, synthetic={"seed": 1}).hash == protocol(dataset=cave).hash


def test_every_metric_has_a_key_of_its_own_and_a_function_that_is_there():
    assert len(METRIC) == len(METRICS)
    assert all(callable(resolve(metric.function)) for metric in METRICS if metric.function)


def test_json_carries_name_hash_fields_and_how_the_scenes_were_divided(protocol):
    frame = protocol()
    entry = json.loads(json.dumps(frame.as_json(), allow_nan=False))
    assert (entry["name"], entry["hash"]) == ("default", frame.hash)
    for pair in (["degradation.srf", "rgb"], ["split.guard", 8], ["plan.test", list(frame.plan["test"])]):
        assert pair in entry["fields"]


def test_unknown_names_are_refused_with_the_known_ones(protocol):
    assert "default" in PROTOCOLS
    with pytest.raises(UnknownNameError, match=r"Unknown protocol 'defualt'.*'default'"):
        protocol(name="defualt")


def test_results_of_different_protocols_are_not_compared(protocol):
    here, there = protocol(), protocol(degradation={"scale": 2}, split={"test_scenes": ["s0", "s1"]})
    require_same(here, protocol(dataset={"root": "x"}))
    with pytest.raises(DataError, match=r"scale: 4 against 2; split.test_scenes: \(none\) against s0, s1\. Evaluate"):
        require_same(here, there.as_json())


def test_of_long_lists_only_what_differs_is_told(protocol):
    whole = {f"scene_{number:02}": (32, 32) for number in range(32)}
    here = protocol(shapes=whole, split={"test_scenes": ["scene_00", "scene_01"], "val_scenes": ["scene_31"]})
    there = protocol(shapes=whole, split={"test_scenes": ["scene_00", "scene_02"], "val_scenes": ["scene_31"]})
    with pytest.raises(DataError) as caught:
        require_same(here, there.as_json())
    assert "plan.test: scene_01@0:32x0:32 against scene_02@0:32x0:32;" in str(caught.value)
    assert "scene_05" not in str(caught.value)


def test_bare_hashes_are_enough_to_refuse():
    with pytest.raises(DataError, match="fields were not recorded"):
        require_same({"name": "default", "hash": "a"}, {"name": "default", "hash": "b"})


PUBLISHED = [(name, dataset) for name in PROTOCOLS for dataset in PROTOCOLS[name].setups]
HASHES = {
    ("sspsr", "chikusei"): "547c90a0ba99fd80",
    ("sspsr", "pavia_center"): "1c0c81e3cdcbf269",
    ("sspsr", "cave"): "85079de7ba0884eb",
    ("mcnet", "cave"): "f85e32d833268998",
    ("mcnet", "harvard"): "bf3788c8e1341ee5",
    ("dmgasr", "chikusei"): "fffa526365170736",
    ("dmgasr", "pavia_center"): "2bbbaa630f571351",
    ("dmgasr", "harvard"): "31cfc30d58036446",
    ("cave-fusion-x32", "cave"): "c04d786d7bcaa5a9",
    ("hisr-x4", "cave"): "34c431d08c9a931f",
    ("hsrdiff-x4", "pavia_university"): "897300d95b09cdcd",
    ("hsrdiff-x4", "chikusei"): "ec0c7b4a6ff3dce7",
}
"""Hashes that results carry already, each at the scale nearest to 4."""
FULL_SIZES = {
    "chikusei": {"chikusei": (2517, 2335)},
    "pavia_center": {"pavia_center": (1096, 715)},
    "pavia_university": {"pavia_university": (610, 340)},
}


@pytest.fixture
def published(make_params):
    """The protocol of a name on its own data set, every pinned value set; and where the scenes end up."""

    def build(name, dataset, *, scale=None, **changes):
        setup = setup_of(name, dataset)
        scale = scale or min(setup.scales, key=lambda s: abs(s - 4))
        tree = {"dataset": {"name": dataset}, "split": {}, "degradation": {"scale": scale}}
        for key, value in {**setup.pins_at(scale), **changes}.items():
            *groups, leaf = key.split(".")
            place = tree
            for group in groups:
                place = place.setdefault(group, {})
            place[leaf] = value
        groups = {group: make_params(group, **values) for group, values in tree.items()}
        shapes = FULL_SIZES.get(dataset) or dict.fromkeys(SCENES, (512, 512))
        regions = plan_split(shapes, groups["split"], scale=scale)
        plan = {
            part: [{"name": str(r), "scene": r.scene, "region": [r.y0, r.y1, r.x0, r.x1]} for r in entries]
            for part, entries in regions.items()
        }
        return make_protocol(name, **groups, plan=plan, srf=groups["degradation"].srf), regions

    return build


@pytest.mark.parametrize("more", [(), (Metric("new", "New", "a metric that no result has yet", digits=2),)])
def test_results_keep_their_hash_and_a_new_metric_changes_none(more, published, protocol, monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, *more))
    assert {frame: published(*frame)[0].hash for frame in PUBLISHED} == HASHES
    assert protocol().hash == "6ebcd27063dd8ac8"
    assert protocol(degradation=DENOISE).hash == "94482b84e5bc5e69"
    assert protocol(degradation=DEBLUR).hash == "cf1b4412251dfea6"


def test_scales_that_leave_a_remainder_have_it_cropped():
    for name, dataset in PUBLISHED:
        setup = setup_of(name, dataset)
        if 3 in setup.scales and dataset not in FULL_SIZES:
            assert setup.pins_at(3)["degradation.crop_remainder"] is True


def test_at_x3_listed_regions_lose_what_fills_no_lr_pixel_and_other_scales_keep_theirs():
    setup = setup_of("dmgasr", "pavia_center")
    assert setup.pins_at(3)["split.regions.test"][1] == "pavia_center@224:446x0:222"
    assert setup.pins_at(2) == setup.pins_at(4) == setup.pins


def test_the_names_that_the_field_uses():
    assert set(PROTOCOLS) == {"default", "sspsr", "mcnet", "dmgasr", "cave-fusion-x32", "hisr-x4", "hsrdiff-x4"}


@pytest.mark.parametrize(("name", "dataset"), PUBLISHED)
def test_a_published_protocol_divides_its_full_data_set_at_each_of_its_scales(name, dataset, published):
    for scale in setup_of(name, dataset).scales:
        if 512 % scale and dataset not in FULL_SIZES:
            continue  # such scenes lose their remainder, which is not for the plan to decide
        _, regions = published(name, dataset, scale=scale)
        for part, other in combinations(regions, 2):
            for one, another in product(regions[part], regions[other]):
                assert one.scene != another.scene or one.gap(another) >= 16


def test_the_published_test_tiles(published):
    _, regions = published("sspsr", "chikusei")
    assert [str(r) for r in regions["test"]] == [
        f"chikusei@106:618x{left}:{left + 512}" for left in (143, 655, 1167, 1679)
    ]
    assert {r.shape for r in published("dmgasr", "pavia_center")[1]["test"]} == {(224, 224)}
    assert {r.shape for r in published("dmgasr", "chikusei", scale=3)[1]["test"]} == {(510, 510)}
    assert [r.shape for r in published("hsrdiff-x4", "pavia_university")[1]["test"]] == [(128, 128)]
    assert [r.shape for r in published("hsrdiff-x4", "chikusei")[1]["test"]] == 8 * [(512, 512)]
    for name in ("sspsr", "cave-fusion-x32"):
        assert [r.scene for r in published(name, "cave")[1]["test"]] == sorted(SCENES)[20:]


def test_no_two_protocols_share_a_hash(published):
    frames = [published(name, dataset)[0] for name, dataset in PUBLISHED]
    assert len({frame.hash for frame in frames}) == len(frames)


def test_ergas_has_the_factor_of_the_protocol(published):
    assert published("dmgasr", "chikusei", scale=2)[0].ergas_ratio == 4
    assert published("sspsr", "chikusei", scale=8)[0].ergas_ratio == 8


def test_another_value_than_the_protocol_s_is_named_with_what_sets_them_all(published):
    with pytest.raises(ParamsError) as caught:
        published("sspsr", "chikusei", **{"degradation.normalisation": "fixed", "split.guard": 0})
    assert 'degradation.normalisation is "fixed", expected "scene_max"' in str(caught.value)
    assert "split.guard is 0, expected 16" in str(caught.value)
    assert "hsipipe pipeline $(hsipipe protocol sspsr --dataset chikusei --scale 4)" in str(caught.value)


def test_a_protocol_is_refused_where_it_is_not_defined(published, protocol):
    with pytest.raises(ParamsError, match=r"'hisr-x4' on 'cave' has the scales 4, got degradation.scale 8"):
        published("hisr-x4", "cave", scale=8)
    with pytest.raises(
        ParamsError, match="'sspsr' has no setup for the dataset 'synthetic'; it is defined on cave, chik"
    ):
        protocol(name="sspsr")


def test_scaling_by_the_ground_truth_is_for_one_protocol_alone(repository):
    tree = load_params(repository / "params.yaml").model_dump()
    tree["degradation"]["normalisation"] = "region_minmax"
    with pytest.raises(ParamsError, match="region_minmax scales each test region by its own ground truth"):
        parse_params(tree, source="params.yaml")


def test_two_protocols_on_the_same_scenes_are_not_compared(published):
    with pytest.raises(DataError, match=r"psf.kind: bicubic against gaussian"):
        require_same(published("sspsr", "cave")[0], published("hisr-x4", "cave")[0].as_json())


@pytest.mark.parametrize(
    "change",
    [
        {"psf": {"kind": "average"}},
        {"psf": {"kind": "gaussian", "sigma": 2.0}},
        {"snr_db": {"lr": 35.0}},
        {"normalisation": "scene_max"},
        {"srf": None},
    ],
)
def test_what_the_sensors_do_changes_the_hash(change, protocol):
    assert protocol(degradation=change).hash != protocol().hash


PLAIN = {
    "scale": 4,
    "normalisation": "fixed",
    "psf": {"kind": "bicubic", "sigma": None, "mtf": None, "size": None, "phase": None},
    "srf": None,
    "snr_db": {"lr": None, "msi": None},
    "seed": 0,
}
DENOISE = {"task": "denoise", "scale": 1, "psf": {"kind": "none"}, "snr_db": {"lr": 20.0}}
DEBLUR = {"task": "deblur", "scale": 1, "psf": {"kind": "gaussian", "sigma": 1.5}}


def test_the_task_counts_but_the_hashes_of_super_resolution_are_older_than_it(make_params):
    def of(**degradation):
        plan = {part: [{"name": part, "scene": part, "region": [0, 32, 0, 32]}] for part in ("train", "val", "test")}
        groups = {"dataset": make_params("dataset", name="cave"), "split": make_params("split")}
        low = make_params("degradation", **PLAIN | degradation)
        return make_protocol("default", **groups, degradation=low, plan=plan, srf=None)

    assert of().hash == "60ede070f2a9d4db"
    assert of(snr_db={"lr": 35.0}).hash == "4300b8a4366e17e0"
    assert of(**DENOISE).fields()["degradation.task"] == "denoise"
    assert len({of().hash, of(**DENOISE).hash, of(**DEBLUR).hash}) == 3


def test_consistency_with_a_noisy_input_is_said_to_be_undefined(protocol):
    key = "metrics.consistency_psnr_db"
    assert protocol(degradation=DENOISE).fields()[key].startswith("not defined")
    assert protocol(degradation=DEBLUR).fields()[key] == METRIC["consistency_psnr_db"].definition


def test_published_protocols_are_of_super_resolution(published):
    blurred = {"task": "deblur", "scale": 1, "psf.kind": "gaussian", "psf.sigma": 1.5}
    blurred = {f"degradation.{key}": value for key, value in blurred.items()}
    with pytest.raises(ParamsError, match=r"has the scales 2, 4, 8, got degradation.scale 1"):
        published("sspsr", "cave", **blurred)


def test_the_seed_counts_where_there_is_noise(protocol):
    noisy = {"snr_db": {"lr": 35.0}}
    assert protocol(degradation={"seed": 1}).hash == protocol().hash
    assert protocol(degradation={**noisy, "seed": 1}).hash != protocol(degradation=noisy).hash
