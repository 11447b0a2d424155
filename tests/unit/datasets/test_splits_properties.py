"""What holds for every split: parts never share a pixel, and within a scene they keep their distance."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hsipipe.datasets.splits import SPLITS, plan_split
from hsipipe.errors import DataError, ParamsError
from hsipipe.patches.grid import patch_origins

SHAPES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=5)
SHARES = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45))


def plan(make_params, shapes, *, scale, by, shares, guard, seed):
    """The regions of the parts; draws that leave no room for them are thrown away."""
    scenes = {f"s{number}": (height * scale, width * scale) for number, (height, width) in enumerate(shapes)}
    split = make_params("split", by=by, val=shares[0], test=shares[1], guard=guard, seed=seed)
    try:
        return scenes, plan_split(scenes, split, scale=scale)
    except DataError:
        assume(False)


@given(
    shapes=SHAPES,
    scale=st.integers(1, 8),
    by=st.sampled_from(["auto", "region", "scene"]),
    shares=SHARES,
    guard=st.integers(0, 40),
    seed=st.integers(0, 9),
)
def test_parts_lie_in_their_scenes_on_the_lr_grid_and_keep_the_guard(
    make_params, shapes, scale, by, shares, guard, seed
):
    scenes, parts = plan(make_params, shapes, scale=scale, by=by, shares=shares, guard=guard, seed=seed)
    for part in SPLITS:
        assert parts[part]
        for region in parts[part]:
            height, width = scenes[region.scene]
            assert 0 <= region.y0 < region.y1 <= height
            assert 0 <= region.x0 < region.x1 <= width
            assert not any(edge % scale for edge in (region.y0, region.y1, region.x0, region.x1))
    for one, other in combinations(SPLITS, 2):
        for a in parts[one]:
            for b in parts[other]:
                assert a.scene != b.scene or a.gap(b) >= guard


@given(
    shapes=SHAPES,
    scale=st.integers(1, 4),
    shares=SHARES,
    guard=st.integers(0, 12),
    size=st.integers(1, 6),
    stride=st.integers(1, 6),
)
def test_patches_of_two_parts_share_no_pixel_hr_or_lr(make_params, shapes, scale, shares, guard, size, stride):
    scenes, parts = plan(make_params, shapes, scale=scale, by="region", shares=shares, guard=guard, seed=0)
    assume(all(min(region.shape) >= size * scale for part in SPLITS for region in parts[part]))
    owners = {name: np.zeros((3, *shape), dtype=bool) for name, shape in scenes.items()}
    for number, part in enumerate(SPLITS):
        for region in parts[part]:
            origins = patch_origins("r", region.shape, size=size * scale, stride=min(stride, size) * scale, scale=scale)
            for y, x in np.add(origins, (region.y0, region.x0)):
                owners[region.scene][number, y : y + size * scale, x : x + size * scale] = True
            # All of the region is used: nothing is lost at its edges.
            assert owners[region.scene][number].sum() == region.shape[0] * region.shape[1]
    for owner in owners.values():
        assert owner.sum(axis=0).max() <= 1
        _, height, width = owner.shape
        low = owner.reshape(3, height // scale, scale, width // scale, scale).any(axis=(2, 4))
        assert low.sum(axis=0).max() <= 1


@given(corners=st.tuples(*[st.tuples(*[st.integers(0, 12)] * 4)] * 3), guard=st.integers(0, 8))
def test_listed_regions_that_come_too_near_are_refused(make_params, corners, guard):
    boxes = [(min(a, b), max(a, b) + 1, min(c, d), max(c, d) + 1) for a, b, c, d in corners]
    texts = [f"s@{2 * y0}:{2 * y1}x{2 * x0}:{2 * x1}" for y0, y1, x0, x1 in boxes]
    regions = {part: [text] for part, text in zip(SPLITS, texts, strict=True)}
    split = make_params("split", by="listed", regions=regions, guard=guard)
    near = False
    for one, other in combinations(boxes, 2):
        seen = np.zeros((2, 60, 60), dtype=bool)
        for layer, (y0, y1, x0, x1), reach in ((0, one, guard), (1, other, 0)):
            seen[
                layer,
                max(2 * y0 + 10 - reach, 0) : 2 * y1 + 10 + reach,
                max(2 * x0 + 10 - reach, 0) : 2 * x1 + 10 + reach,
            ] = True
        near |= bool(seen.all(axis=0).any())
    if near:
        with pytest.raises(ParamsError, match="move one of them"):
            plan_split({"s": (26, 26)}, split, scale=2)
    else:
        parts = plan_split({"s": (26, 26)}, split, scale=2)
        assert [len(parts[part]) for part in SPLITS] == [1, 1, 1]
