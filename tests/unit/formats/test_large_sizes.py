"""Sides whose product exceeds 64 bits: nothing is taken for small because the product wraps around."""

import math

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe import open_cube
from hsipipe.errors import FileFormatError
from hsipipe.formats.base import pick_variable

SIDES = st.tuples(*[st.sampled_from([1, 3, 2**16, 2**21, 2**22, 2**32, 2**40])] * 3)


@given(st.lists(SIDES, min_size=2, max_size=4, unique_by=math.prod))
def test_the_largest_cube_is_picked_at_any_size(shapes):
    named = {f"v{number}": shape for number, shape in enumerate(shapes)}
    assert pick_variable(named, None) == max(named, key=lambda name: math.prod(named[name]))


@pytest.mark.parametrize("name", ["scene.h5", "scene.mat"])
def test_an_array_of_2_to_the_64_values_next_to_a_cube_is_not_read_for_small(tmp_path, name):
    path, values = tmp_path / name, np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    with h5py.File(path, "w") as file:
        for key, shape in (("cube", values.shape), ("huge", (2**32, 2**32))):
            dataset = file.create_dataset(key, shape, "f4", chunks=shape if key == "cube" else (1024, 1024))
            dataset.attrs["MATLAB_class"] = np.bytes_("single")
        file["cube"][...] = values
    cube = open_cube(path, variable="cube", bands=5)
    np.testing.assert_array_equal(cube.to_numpy(), values.T)


def test_a_cube_of_2_to_the_66_values_is_refused_or_opened_lazily(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("cube", (2**22, 2**22, 2**22), "f4", chunks=(64, 64, 64))
    try:
        assert math.prod(open_cube(tmp_path / "a.h5").shape) == 2**66
    except FileFormatError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both are right
