"""The bicubic row of real CAVE scenes, from the published files on, against values computed elsewhere."""

import json
from pathlib import Path

import numpy as np
import pytest

from hsipipe import degrade, open_cube, score
from hsipipe.methods.bicubic import Bicubic

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
GOLDEN = SHARED / "golden_cave_bicubic.json"
if not GOLDEN.exists():
    pytest.skip("the real scenes are not beside this checkout (../shared/data)", allow_module_level=True)

COLUMNS = ("mpsnr_db", "cube_psnr_db", "mssim", "sam_deg", "ergas")
ROWS = json.loads(GOLDEN.read_text(encoding="utf-8"))["rows"]
SCENES = sorted({case.partition("/")[0] for case in ROWS if not case.startswith("mean")})


@pytest.fixture(scope="module", params=SCENES)
def scene(request):
    """Name and cube."""
    return request.param, open_cube(SHARED / "cave" / f"{request.param}_ms")


def test_all_nine_scenes_are_there():
    assert len(SCENES) == 9


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_bicubic_row_equals_the_reference(scene, scale):
    name, hr = scene
    lr = degrade(hr, scale)
    sr = np.clip(Bicubic(scale).predict(lr.values[None])[0], 0, 1)
    values = score(sr, hr, scale, lr=lr)
    assert [values[key] for key in COLUMNS] == pytest.approx(ROWS[f"{name}/x{scale}"], abs=1e-3)
