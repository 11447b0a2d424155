"""Published scenes, where they are at hand."""

from pathlib import Path

import numpy as np
import pytest

from hsipipe.formats import companions, is_cube, open_cube

REAL = Path(__file__).parents[4] / "shared" / "data" / "remote_sensing"

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real scenes are not at {REAL}")


@pytest.mark.parametrize(
    ("name", "variable", "shape", "kind", "span"),
    [
        ("abu-urban-3.mat", None, (191, 100, 100), "uint16", (0, 7208)),
        ("abu-urban-4.mat", None, (205, 100, 100), "int16", (-2, 19492)),
        ("jasper_ridge_r198.mat", None, (198, 100, 100), "uint16", (0, 5437)),
        ("muufl_gulfport.mat", None, (64, 100, 100), "float32", (0, 1)),
        ("paris_hyperion_ali_hs_ms.mat", None, (128, 72, 72), "float64", (0.0009, 1.2843)),
        ("paris_hyperion_ali_hs_ms.mat", "MSim", (9, 72, 72), "float64", (0.0, 1.5)),
        ("paris_hyperion_ali_hs_pan.mat", None, (128, 72, 58), "float64", (0.0009, 1.2609)),
        ("paris_hyperion_ali_hs_pan.mat", "PCim", (1, 216, 174), "float64", (0.0, 2.3)),
        ("pavia_centre_bridge.mat", None, (102, 100, 100), "float64", (0, 1)),
        ("salinas_a_corrected.mat", None, (204, 83, 86), "int16", (-9, 8373)),
    ],
)
def test_a_scene_opens_as_its_authors_describe_it(name, variable, shape, kind, span):
    cube = open_cube(REAL / name, variable=variable)
    assert (cube.dims, cube.shape, cube.dtype) == (("band", "y", "x"), shape, np.float32)
    assert cube.encoding["stored_dtype"] == kind
    low, high = float(cube.min()), float(cube.max())
    assert span[0] - 1e-3 <= low <= high <= span[1] + 1e-3


def test_every_file_is_known_as_a_cube():
    for path in sorted(REAL.iterdir()):
        assert is_cube(path)
        assert companions(path) == [path]
