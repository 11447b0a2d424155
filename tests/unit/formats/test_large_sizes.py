"""Sides whose product exceeds 64 bits: no size wraps around."""

import math

from hypothesis import given
from hypothesis import strategies as st

from hsipipe.formats.base import pick_variable

SIDES = st.tuples(*[st.sampled_from([1, 3, 2**16, 2**21, 2**22])] * 3)


@given(st.lists(SIDES, min_size=2, max_size=4, unique_by=math.prod))
def test_the_largest_cube_is_picked_at_any_size(shapes):
    named = {f"v{number}": shape for number, shape in enumerate(shapes)}
    assert pick_variable(named, None) == max(named, key=lambda name: math.prod(named[name]))
