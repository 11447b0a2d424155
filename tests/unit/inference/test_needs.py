"""A scene that is held whole is admitted by the memory that its method needs."""

import numpy as np
import pytest

from hsipipe.degradation.psf import Psf
from hsipipe.errors import ParamsError
from hsipipe.formats.base import make_cube
from hsipipe.inference.needs import Admission, prediction_bytes
from hsipipe.methods.hysure import HySure
from hsipipe.methods.sfim import Sfim

CUBE = make_cube(np.zeros((30, 500, 400), np.float32))


def test_a_method_of_a_whole_scene_says_what_it_needs(tmp_path):
    admit = Admission([tmp_path / "x.zarr"], model=HySure(2, Psf()), memory=1 << 30)
    with pytest.raises(ParamsError, match=r"by hysure, which takes the whole scene, needs about .* but --memory is"):
        admit(CUBE, 2)
    Admission([tmp_path / "x.zarr"], model=HySure(2, Psf()), memory=2 << 30)(CUBE, 2)


def test_what_a_method_holds_is_in_its_need():
    lr = (30, 500, 400)
    plain = prediction_bytes(lr, 2)
    assert prediction_bytes(lr, 2, working=Sfim(2, Psf()).working_bytes(30)) == plain
    held = prediction_bytes(lr, 2, working=HySure(2, Psf()).working_bytes(30))
    # 17 images of 20 coefficients for each of 800,000 pixels, in the place of two results of 30 bands and a band.
    assert held - plain == 800_000 * 4 * (17 * 20 - 61)
