"""Bicubic rows of real scenes against the golden file."""

import json
from pathlib import Path

import numpy as np
import pytest

from hsipipe import open_cube
from hsipipe.degradation.bicubic import downsample, upsample

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
CASES = ["balloons/x4", "beads/x4", "fake_and_real_peppers/x4", "balloons/x2", "balloons/x8"]

pytestmark = pytest.mark.skipif(
    not (SHARED / "golden_cave_bicubic.json").exists(), reason="the real scenes are not beside this checkout"
)


@pytest.fixture(scope="module")
def golden():
    return json.loads((SHARED / "golden_cave_bicubic.json").read_text())["rows"]


@pytest.mark.parametrize("case", CASES)
def test_psnr_of_the_bicubic_row(golden, case):
    scene, _, scale = case.partition("/x")
    hr = open_cube(SHARED / "cave" / f"{scene}_ms").values.astype(np.float64)
    sr = np.clip(upsample(downsample(hr, int(scale)), int(scale)), 0, 1)
    mse = ((sr - hr) ** 2).mean(axis=(1, 2))
    mpsnr, cube_psnr = golden[case][:2]
    assert np.mean(-10 * np.log10(mse)) == pytest.approx(mpsnr, abs=1e-3)
    assert -10 * np.log10(mse.mean()) == pytest.approx(cube_psnr, abs=1e-3)
