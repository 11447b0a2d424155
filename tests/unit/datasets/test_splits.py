import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.datasets.splits import Region, plan_split, region_names
from hsipipe.errors import DataError, ParamsError
from hsipipe.params import SplitParams

DEFAULTS = {
    "by": "auto",
    "regions": {"train": [], "val": [], "test": []},
    "val": 0.17,
    "test": 0.17,
    "test_scenes": [],
    "val_scenes": [],
    "guard": 16,
    "seed": 0,
}


def _params(**changes):
    return SplitParams.model_validate({**DEFAULTS, **changes})


def _scenes(n, shape=(128, 64)):
    return {f"s{i:02d}": shape for i in range(n)}


def _names(plan):
    return {part: [region.scene for region in regions] for part, regions in plan.items()}


def test_whole_scenes_from_three_on():
    plan = plan_split(_scenes(3), _params(), scale=4)
    assert {part: len(regions) for part, regions in plan.items()} == {"train": 1, "val": 1, "test": 1}
    assert all(region.shape == (128, 64) for region in itertools.chain(*plan.values()))


def test_shares_of_the_scenes_are_rounded():
    plan = plan_split(_scenes(20), _params(val=0.1, test=0.25), scale=4)
    assert {part: len(regions) for part, regions in plan.items()} == {"train": 13, "val": 2, "test": 5}


def test_the_order_of_the_files_does_not_matter_and_the_seed_does():
    scenes = _scenes(10)
    turned = dict(reversed(scenes.items()))
    assert plan_split(scenes, _params(), scale=4) == plan_split(turned, _params(), scale=4)
    plans = {str(_names(plan_split(scenes, _params(seed=seed), scale=4))) for seed in range(5)}
    assert len(plans) > 1


def test_at_least_one_scene_is_left_to_train():
    plan = plan_split(_scenes(4), _params(val=0.45, test=0.5), scale=4)
    assert len(plan["train"]) == 1
    assert {len(plan["val"]), len(plan["test"])} == {1, 2}


def test_named_scenes():
    plan = plan_split(_scenes(6), _params(test_scenes=["s05", "s01"], val_scenes=["s03"]), scale=4)
    assert _names(plan) == {"train": ["s00", "s02", "s04"], "val": ["s03"], "test": ["s01", "s05"]}


def test_named_test_scenes_and_drawn_val_scenes():
    names = _names(plan_split(_scenes(6), _params(test_scenes=["s00"]), scale=4))
    assert names["test"] == ["s00"]
    assert len(names["val"]) == 1
    assert len(names["train"]) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_scenes": ["balloon"]}, r"split\.test_scenes: no scene 'balloon'; there are s00, s01, s02, s03\."),
        ({"val_scenes": ["x"]}, r"split\.val_scenes: no scene 'x'"),
        ({"test_scenes": ["s01"], "val_scenes": ["s01"]}, "'s01' is in split.test_scenes and in split.val_scenes"),
        ({"test_scenes": ["s00", "s01", "s02"]}, "leave 1 of 4 scenes"),
        ({"test_scenes": ["s00", "s01"], "val_scenes": ["s02", "s03"]}, "leave 0 of 4 scenes"),
        ({"by": "region", "test_scenes": ["s00"]}, "name whole scenes"),
    ],
)
def test_named_scenes_that_do_not_work(changes, message):
    with pytest.raises(ParamsError, match=message):
        plan_split(_scenes(4), _params(**changes), scale=4)


def test_by_scene_needs_three():
    with pytest.raises(DataError, match=r"needs 3 scenes .*got 2: s00, s01\. Set split\.by to region"):
        plan_split(_scenes(2), _params(by="scene"), scale=4)


@pytest.mark.parametrize("n", [1, 2])
def test_regions_of_one_or_two_scenes(n):
    plan = plan_split(_scenes(n, (128, 128)), _params(), scale=4)
    assert plan["train"][0] == Region("s00", 0, 72, 0, 128)
    assert plan["val"][0] == Region("s00", 88, 128, 0, 56)
    assert plan["test"][0] == Region("s00", 88, 128, 72, 128)
    assert all(len(regions) == n for regions in plan.values())


def test_regions_follow_the_longer_side():
    tall = plan_split({"a": (400, 80)}, _params(), scale=4)
    wide = plan_split({"a": (80, 400)}, _params(), scale=4)
    assert [tall[part][0].shape for part in tall] == [(252, 80), (60, 80), (56, 80)]
    assert {part: [(r.y0, r.y1, r.x0, r.x1) for r in regions] for part, regions in tall.items()} == {
        part: [(r.x0, r.x1, r.y0, r.y1) for r in regions] for part, regions in wide.items()
    }


def test_regions_have_their_shares_of_what_the_guards_leave():
    plan = plan_split({"a": (1000, 800)}, _params(val=0.1, test=0.3), scale=4)
    pixels = {part: regions[0].shape[0] * regions[0].shape[1] for part, regions in plan.items()}
    total = sum(pixels.values())
    shares = {part: count / total for part, count in pixels.items()}
    assert shares == pytest.approx({"train": 0.6, "val": 0.1, "test": 0.3}, abs=0.02)


@pytest.mark.parametrize("side", [4, 12, 20])
def test_a_scene_too_small_for_regions_is_named_with_their_sizes(side):
    with pytest.raises(
        DataError,
        match=rf"Scene 'a' with {side} x {side} pixels is too small .* guards of 16 .*: train 0 x {side}, val ",
    ):
        plan_split({"a": (side, side)}, _params(), scale=4)


def test_the_scale_must_divide():
    with pytest.raises(
        DataError,
        match=r"Scene 'a' has 130 x 64 pixels, which leaves a remainder of 2 x 0 at scale 4\. Set degradation",
    ):
        plan_split({"a": (130, 64)}, _params(), scale=4)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20)), min_size=1, max_size=6),
    by=st.sampled_from(["auto", "scene", "region"]),
    val=st.floats(0.01, 0.49),
    test=st.floats(0.01, 0.49),
    guard=st.integers(0, 40),
    scale=st.integers(2, 8),
    seed=st.integers(0, 5),
)
def test_the_parts_never_touch(sizes, by, val, test, guard, scale, seed):
    shapes = {f"s{i}": (h * scale, w * scale) for i, (h, w) in enumerate(sizes)}
    try:
        plan = plan_split(shapes, _params(by=by, val=val, test=test, guard=guard, seed=seed), scale=scale)
    except DataError:
        return
    for part, other in itertools.combinations(plan, 2):
        for a, b in itertools.product(plan[part], plan[other]):
            rows, columns = max(a.y0, b.y0) - min(a.y1, b.y1), max(a.x0, b.x0) - min(a.x1, b.x1)
            assert a.scene != b.scene or max(rows, columns) >= guard
    for region in itertools.chain(*plan.values()):
        height, width = shapes[region.scene]
        assert 0 <= region.y0 < region.y1 <= height
        assert 0 <= region.x0 < region.x1 <= width
        assert min(region.shape) >= scale
        assert not any(value % scale for value in (region.y0, region.y1, region.x0, region.x1))
    assert all(plan.values())


LISTED = {"train": ["a@0:32x0:64"], "val": ["a@48:64x0:32"], "test": ["a@48:64x40:64", "a@72:96x0:64"]}


def _listed(**changes):
    return _params(by="listed", guard=8, regions={**LISTED, **changes})


def test_listed_regions():
    plan = plan_split({"a": (97, 64)}, _listed(), scale=8)
    assert {part: [str(r) for r in regions] for part, regions in plan.items()} == LISTED
    assert region_names(plan["train"]) == ["a"]
    assert region_names(plan["test"]) == ["a@48_40", "a@72_0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": []}, r"split.regions.test is empty"),
        ({"test": ["a[0:8,0:8]"]}, r"'a\[0:8,0:8\]', expected scene@"),
        ({"test": ["a@8:8x0:8"]}, "'a@8:8x0:8' is empty"),
        ({"test": ["b@72:96x0:64"]}, "no scene 'b'; there are a"),
        ({"test": ["a@72:104x0:64"]}, "a@72:104x0:64 exceeds its scene of 97 x 64"),
        ({"test": ["a@72:90x0:64"]}, "has 18 x 64 pixels, expected multiples of the scale 8"),
        (
            {"test": ["a@64:96x0:64"]},
            r"a@48:64x0:32 \(val\) and a@64:96x0:64 \(test\) lie 0 pixels apart, expected at least 8",
        ),
        ({"test": ["a@0:8x0:8"]}, r"\(train\) and a@0:8x0:8 \(test\) overlap"),
        ({"test": ["a@72:96x0:64", "a@80:96x0:64"]}, r"\(test\) and .* \(test\) overlap"),
    ],
)
def test_listed_regions_that_do_not_work(changes, message):
    with pytest.raises(ParamsError, match=message):
        plan_split({"a": (97, 64)}, _listed(**changes), scale=8)


def test_lists_and_names_without_effect_are_refused():
    with pytest.raises(ParamsError, match=r"split\.by is 'auto'; set it to listed"):
        plan_split({"a": (96, 64)}, _params(regions=LISTED), scale=8)
    with pytest.raises(ParamsError, match=r"test_scenes and split.val_scenes \(a\) have no effect"):
        plan_split({"a": (96, 64)}, _params(by="listed", regions=LISTED, test_scenes=["a"]), scale=8)
