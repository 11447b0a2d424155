"""Pairs of scenes with pixels that have no data."""

import json

import numpy as np
import pytest

from hsipipe.artifacts import DegradedPairs, RawScenes
from hsipipe.artifacts.no_data import NO_DATA, filled
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.masked import downsample_valid
from hsipipe.degradation.pairs import make_pairs
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError
from hsipipe.storage.stores import get_array, read

SIZE, BANDS, SCALE = 32, 5, 4


def values(seed):
    return np.random.default_rng(seed).uniform(0.1, 0.9, (BANDS, SIZE, SIZE)).astype(np.float32)


def holes():
    """Stripes and a cloud."""
    where = np.zeros((SIZE, SIZE), bool)
    where[:, ::9] = True
    where[6:17, 10:23] = True
    return where


@pytest.fixture
def make(tmp_path, make_params):
    """Makes the pairs of three scenes whose pixels are NaN where a mask says so, and returns where they are."""

    def run(name, where, *, msi=None, under=None, **degradation):
        source, raw, out = (tmp_path / name / part for part in ("source", "raw", "pairs"))
        for folder in (source, raw, out):
            folder.mkdir(parents=True)
        for number in range(3):
            cube = values(number)
            cube[:, where] = np.nan if under is None else under
            cube[2, where] = np.nan
            np.save(source / f"s{number}.npy", cube)
            if msi is not None:
                fine = values(number)[:2].copy()
                fine[1, msi] = np.nan
                np.save(source / f"s{number}_msi.npy", fine)
        nm = np.linspace(450, 650, BANDS).tolist()
        folder = {"full_scale": 1.0, "variable": None, "wavelength_nm": nm, "drop_bands": []}
        prepare_scenes(make_params("dataset", name="folder", root=str(source), folder=folder), raw)
        split = make_params("split", by="scene", val=0.3, test=0.3, guard=0)
        settings = {"scale": SCALE, "srf": "rgb" if msi is None else "measured", **degradation}
        make_pairs(RawScenes(raw), out, split=split, degradation=make_params("degradation", **settings))
        return DegradedPairs(out)

    return run


def stored(pairs):
    """All arrays of the test region as they are in the store."""
    group = pairs.open("test", pairs.names("test")[0])
    return {name: read(get_array(group, name)) for name in group.array_keys()}, dict(group.attrs)


NONE = np.zeros((SIZE, SIZE), bool)


@pytest.mark.parametrize("psf", [{"kind": "bicubic"}, {"kind": "average"}, {"kind": "gaussian", "mtf": 0.3}])
def test_no_data_is_nan_in_all_images_and_filled_in_the_degradation(make, psf):
    pairs = make(
        "holes", holes(), psf={"kind": "bicubic", "sigma": None, "mtf": None, "size": None, "phase": None} | psf
    )
    arrays, attrs = stored(pairs)
    valid, number = np.isfinite(arrays["hr"][0]), int(pairs.names("test")[0][1:])
    assert not (valid & holes()).any()
    assert attrs[NO_DATA] == 1 - valid.mean()
    assert np.array_equal(np.isfinite(arrays["msi"]).all(axis=0), valid)
    assert np.array_equal(arrays["hr"], np.where(valid, values(number), np.float32(np.nan)), equal_nan=True)
    low, has_data = downsample_valid(values(number), valid, SCALE, psf=Psf(**psf))
    known = np.isfinite(arrays["lr"][0])
    assert known[has_data].all()
    assert known.all() == (psf["kind"] != "average")
    np.testing.assert_allclose(arrays["lr"][:, known], low[:, known], rtol=1e-5)
    # Where an LR pixel has no data, no HR pixel is left.
    assert not valid.reshape(8, SCALE, 8, SCALE).any(axis=(1, 3))[~known].any()


def test_values_under_the_mask_change_no_bit(make):
    noise = {"snr_db": {"lr": 30.0, "msi": 30.0}, "normalisation": "scene_max"}
    (one, _), (other, _) = (stored(make(name, holes(), under=u, **noise)) for name, u in (("a", 0.0), ("b", 7.0)))
    for name, array in one.items():
        assert np.array_equal(array, other[name], equal_nan=True), name


def test_scenes_without_holes_have_no_mark(make):
    pairs = make("none", NONE)
    arrays, attrs = stored(pairs)
    assert NO_DATA not in attrs
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert NO_DATA not in (pairs.path.parent / "raw" / "scenes.json").read_text()
    assert pairs.read("test", pairs.names("test")[0]).valid is None


def test_a_hole_of_the_measured_msi_is_one_of_the_pair(make):
    cloud = NONE.copy()
    cloud[3:20, 3:20] = True
    pairs = make("msi", NONE, msi=cloud)
    arrays, _ = stored(pairs)
    assert np.isnan(arrays["hr"][:, cloud]).all()
    assert np.isnan(arrays["msi"][:, cloud]).all()
    scenes = json.loads((pairs.path.parent / "raw" / "scenes.json").read_text())["scenes"]
    assert {entry["msi"][NO_DATA] for entry in scenes} == {cloud.mean()}


def test_a_pair_in_memory_is_filled_and_knows_its_pixels(make):
    pairs = make("holes", holes())
    arrays, _ = stored(pairs)
    pair = pairs.read("test", pairs.names("test")[0])
    assert np.array_equal(pair.valid, np.isfinite(arrays["hr"][0]))
    for name in ("hr", "lr", "msi"):
        ours, here = getattr(pair, name), np.isfinite(arrays[name][0])
        assert np.array_equal(ours, filled(arrays[name], here, scale=1 if name == "lr" else SCALE))
        assert np.array_equal(ours[:, here], arrays[name][:, here])
        assert np.isfinite(ours).all()
    assert np.array_equal(pair.lr_valid, pair.valid.reshape(8, 4, 8, 4).any(axis=(1, 3)))
    assert np.array_equal(np.isnan(pair.opened(pair.hr)).all(axis=0), ~pair.valid)


def test_a_region_with_no_lr_pixel_is_refused(make):
    where = ~NONE
    where[::7, ::7] = False
    with pytest.raises(DataError, match=r"no LR pixel with data, 2\.4% of its HR pixels have some"):
        make("few", where)
