import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hsipipe.errors import FileFormatError
from hsipipe.viewer.packing import pack, unpack

shapes = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))


@given(shapes.flatmap(lambda shape: arrays(np.int32, shape, elements=st.integers(-(2**28), 2**28))))
def test_planes_come_back_as_they_were(planes):
    np.testing.assert_array_equal(unpack(pack(planes), planes.shape), planes)


def test_smooth_planes_take_less_than_a_byte_a_pixel():
    y, x = np.mgrid[:64, :64]
    plane = np.round(3000 * np.sin(x / 20) * np.cos(y / 15)).astype(np.int32)[None]
    assert len(pack(plane)) < plane.size
    assert len(pack(np.zeros_like(plane))) < 50


@pytest.mark.parametrize("text", ["", "no base64!", "QUJD", pack(np.ones((1, 2, 2), np.int32))])
def test_what_is_no_plane_of_this_shape_is_refused(text):
    with pytest.raises(FileFormatError, match="packed planes"):
        unpack(text, (1, 3, 3))
