"""Tiles and shards, without data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.inference.plan import BLOCK, Box, Plan, shard_shape


@st.composite
def plans(draw):
    tile = draw(st.integers(1, 24))
    overlap = draw(st.integers(0, (tile - 1) // 2))
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    shard = st.integers(1, 5).map(lambda n: n * BLOCK)
    return Plan(height, width, tile, overlap, draw(st.none() | st.tuples(shard, shard)))


@given(plans())
def test_each_pixel_is_in_one_shard_and_in_the_tiles_of_its_shard(plan):
    count, weight = (np.zeros((plan.height, plan.width)) for _ in range(2))
    for box in plan.shards:
        count[box.slices()[1:]] += 1
        tiles = plan.tiles_of(box)
        assert tiles == sorted(tiles)
        for tile in tiles:
            both = box.overlap(tile)
            ramp = plan.ramp(tile, scale=1)
            weight[both.slices()[1:]] += ramp[both.slices(origin=(tile.y0, tile.x0))[1:]]
        window = plan.window_of(box)
        assert all(window.overlap(tile) == tile for tile in tiles)
    assert (count == 1).all()
    assert (weight > 0).all()


@given(plans(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_steps_give_each_wanted_shard_its_tiles_in_their_order(plan, side_by_side, random):
    wanted = set(random.sample(plan.shards, random.randint(0, len(plan.shards))))
    got, done = {box: [] for box in wanted}, []
    open_rows = []
    for step in plan.steps(wanted, side_by_side=side_by_side):
        assert all(step.window.overlap(tile) == tile for tile in step.tiles)
        assert not set(step.shards) & set(done)
        for box in step.shards:
            got[box] += [tile for tile in step.tiles if box.overlap(tile)]
        columns = {}
        for box in step.shards:
            columns[box.x0] = columns.get(box.x0, 0) + box.y1 - box.y0
        open_rows += columns.values()
        done += step.done
    assert got == {box: plan.tiles_of(box) for box in wanted}
    assert sorted(done) == sorted(wanted)
    assert max(open_rows, default=0) <= plan.rows_open()


@given(plans())
def test_one_strip_predicts_each_tile_once(plan):
    steps = list(plan.steps(set(plan.shards), side_by_side=plan.shard_columns))
    tiles = [tile for step in steps for tile in step.tiles]
    assert tiles == plan.tiles_of(Box(0, plan.height, 0, plan.width))


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((224, 1200, 1200), 4, (64, 64)),
        ((4, 6, 5), 2, (8, 8)),
        ((31, 5000, 20), 4, (176, 24)),
        ((100_000, 999, 999), 8, (8, 8)),
    ],
)
def test_a_shard_is_a_file_of_usual_size_of_whole_blocks(size, scale, expected):
    rows, columns = shard_shape(*size, scale=scale)
    assert (rows, columns) == expected
    assert rows % BLOCK == columns % BLOCK == 0
